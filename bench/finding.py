"""What a question found: figures of each contender, and the targets that they decide."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.spread import Spread, ratios
from bench.targets import BY_KEY


@dataclass(frozen=True)
class Run:
    """How to measure."""

    rounds: int
    seconds: float
    """Of load, each time."""
    folder: Path
    """For databases; deleted afterwards."""
    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    """How many users, and as many ended sessions."""


@dataclass
class Finding:
    title: str
    unit: str
    figures: dict[str, Spread] = field(default_factory=dict)
    """What was measured, by contender."""
    reached: dict[str, Spread] = field(default_factory=dict)
    """By the key of a target."""
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    panels: list[str] = field(default_factory=list)
    """What the names of figures begin with that share a scale, where they do not all."""

    def measured(self, name: str, values: Sequence[float]) -> None:
        self.figures[name] = Spread.of(values)

    def compares(self, key: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
        self.reaches(key, ratios(ours, theirs))

    def reaches(self, key: str, values: Sequence[float]) -> None:
        self.reached[BY_KEY[key].key] = Spread.of(values)
