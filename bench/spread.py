"""What several rounds found, and in which order to take them."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle of several rounds, the lowest and the highest."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: what slowed the machine down in one round slowed both of it."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def alternating(names: Sequence[str], rounds: int) -> Iterator[str]:
    """A B C, C B A, A B C ...: who goes first must not always be the same."""
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)
