"""What a check found, and what a check is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from usersvc.core import Core


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Verdict:
    state: State
    found: str
    remedy: str | None = None


def ok(found: str) -> Verdict:
    return Verdict(State.OK, found)


def warning(found: str, remedy: str) -> Verdict:
    return Verdict(State.WARNING, found, remedy)


def failed(found: str, remedy: str) -> Verdict:
    return Verdict(State.FAILED, found, remedy)


def skipped(why: str) -> Verdict:
    return Verdict(State.SKIPPED, f"not checked: {why}")


@dataclass(frozen=True)
class Finding:
    """A row of the table."""

    check: str
    state: State
    found: str
    remedy: str | None


@dataclass(frozen=True)
class Check:
    """One look at one thing. It may raise: then it has failed, with what the error says."""

    name: str
    look: Callable[[Core], Verdict]
    remedy: str
    """For when it raises."""
    needs: tuple[str, ...] = ()
    """Checks without whose success this one cannot be done."""
    lacking: str = ""
    """Why those that need this one are not done where it failed."""


def duration(of: timedelta) -> str:
    """In the largest unit that tells enough."""
    seconds = int(of.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def size(of: int) -> str:
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if of >= step:
            return f"{of / step:.1f} {unit}"
    return f"{of} bytes"
