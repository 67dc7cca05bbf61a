"""One case: a use case that writes, as it is done for real, and what the audit then tells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.conftest import Make
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.services.actor import Actor

ROOT = "root@example.org"
PURGE = Actor.job("purge_expired")


@dataclass
class World:
    core: Core
    clock: MovedClock
    make_core: Make


@dataclass(frozen=True)
class Case:
    use: Callable[..., Any]
    run: Callable[[World], Iterator[None]]
    events: tuple[str, ...]


CASES: dict[str, Case] = {}


def told(use: Callable[..., Any], *events: str) -> Callable[[Callable[[World], Iterator[None]]], None]:
    def add(run: Callable[[World], Iterator[None]]) -> None:
        CASES[run.__name__] = Case(use, run, events)

    return add
