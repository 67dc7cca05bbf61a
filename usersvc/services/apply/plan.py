"""What there is beside what a file says: what is to be done, what is left alone, what is so already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from usersvc.services.apply.declaration import Entry


class Action(StrEnum):
    MAKE = "make"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True)
class Difference:
    """Of one value, `before` and `after`; of a set, what comes and what goes."""

    what: str
    before: str | None = None
    after: str | None = None
    added: Sequence[str] = ()
    removed: Sequence[str] = ()

    @property
    def is_of_a_set(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True)
class Item:
    """One thing that the file is about, as a person sees it; nothing in here is secret."""

    section: str
    name: str
    note: str = ""
    id: UUID | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a step, beyond what was to be done."""

    id: UUID | None = None
    secret_file: Path | None = None
    """Where the secret of what was made is now."""
    lacks_secret: bool = False
    """It was made with a secret that nobody knows."""


@dataclass(frozen=True)
class Step:
    action: Action
    item: Item
    differences: list[Difference]
    key: str = field(repr=False)
    """What it is about, within the section; not to be shown."""
    run: Callable[[], Outcome] = field(repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, str, bool]:
        return self.item.section, self.key, self.action is Action.REMOVE

    @property
    def takes(self) -> bool:
        """Whether somebody has less afterwards."""
        return self.action is Action.REMOVE or any(change.removed for change in self.differences)


@dataclass(frozen=True)
class Left:
    """What only pruning would do."""

    action: Action
    item: Item
    differences: list[Difference]


@dataclass
class Plan:
    prunes: bool
    steps: list[Step] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    same: list[Item] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def mistaken(self, entry: Entry, what: str) -> None:
        self.mistakes.append(f"{entry.place}: {what}")

    def add(
        self,
        action: Action,
        item: Item,
        differences: Sequence[Difference | None],
        *,
        key: str,
        run: Callable[[], Outcome],
    ) -> None:
        self.steps.append(Step(action, item, _those(differences), key, run))

    def take(
        self,
        action: Action,
        item: Item,
        differences: Sequence[Difference | None],
        *,
        key: str,
        run: Callable[[], Outcome],
    ) -> None:
        """A step for who prunes, else something that is left alone."""
        if self.prunes:
            self.add(action, item, differences, key=key, run=run)
        else:
            self.left.append(Left(action, item, _those(differences)))

    def compare(
        self,
        item: Item,
        *,
        gives: Sequence[Difference | None],
        takes: Sequence[Difference | None],
        key: str,
        run: Callable[[], Outcome],
    ) -> None:
        """Change something that is there: what takes nothing away in any case, the rest for who prunes."""
        given, taken = _those(gives), _those(takes)
        if self.prunes:
            given += taken
        elif taken:
            self.left.append(Left(Action.CHANGE, item, taken))
        if given:
            self.add(Action.CHANGE, item, given, key=key, run=run)
        elif not taken:
            self.same.append(item)


def _those(differences: Sequence[Difference | None]) -> list[Difference]:
    return [one for one in differences if one]


def value(what: str, before: object, after: object) -> Difference | None:
    """None where they are the same."""
    return None if before == after else Difference(what, _told(before), _told(after))


def more(what: str, found: Sequence[str], wanted: Sequence[str] | None) -> Difference | None:
    """What is wanted and not there; None where that is nothing."""
    added = sorted(set(wanted or ()) - set(found))
    return Difference(what, added=added) if added else None


def fewer(what: str, found: Sequence[str], wanted: Sequence[str] | None) -> Difference | None:
    """What is there and not wanted; None where that is nothing, or nothing is said of it."""
    removed = sorted(set(found) - set(wanted)) if wanted is not None else []
    return Difference(what, removed=removed) if removed else None


def said_or(said: str | None, found: str) -> str:
    """What a file says; where it says nothing, what there is."""
    return found if said is None else said


def _told(given: object) -> str | None:
    match given:
        case None:
            return None
        case bool():
            return "yes" if given else "no"
        case list():
            return ", ".join(map(str, given)) or "all"
        case _:
            return str(given)
