"""Backups as files: of which kind one is, and what it holds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

from usersvc.db.schema import HEAD
from usersvc.security.secrets import first_id, time_of

Kind = Literal["sqlite", "postgresql"]

_MAGIC: dict[bytes, Kind] = {b"SQLite format 3\0": "sqlite", b"PGDMP": "postgresql"}
# An entry of the audit has the time at which its transaction began, and is seen when that is committed.
_LATE = timedelta(minutes=1)


@dataclass(frozen=True)
class Contents:
    """What a backup file says of itself."""

    kind: Kind
    made_at: datetime | None
    """None where the file does not tell, and nothing ever happened in it."""
    revision: str | None
    """Of its schema."""
    secret_check: bytes | None
    """What knows the secret key again that wraps the keys in it; None where nothing was ever kept."""
    rows: dict[str, int]
    """How many, by table."""
    newest: "Newest"
    problems: list[str] = field(default_factory=list)
    """Why it cannot be relied on."""


@dataclass(frozen=True)
class Newest:
    """The newest entries of the audit, by which those that came later are told from those that are in."""

    since: UUID
    ids: frozenset[UUID]
    """All from there on."""

    @classmethod
    def of(cls, ids: Iterable[UUID]) -> "Newest":
        found = set(ids)
        since = first_id(time_of(max(found)) - _LATE) if found else UUID(int=0)
        return cls(since, frozenset(one for one in found if one >= since))

    @property
    def at(self) -> datetime | None:
        return time_of(max(self.ids)) if self.ids else None


def kind_of(path: Path) -> Kind | None:
    """By how the file begins; None for anything else. Raises OSError."""
    with path.open("rb") as file:
        begin = file.read(16)
    return next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)


def problems_of_schema(revision: str | None) -> list[str]:
    if revision is None or not revision.isdecimal():
        return [f"it is no database of usersvc, or an unfinished copy of one ({revision or 'no schema'})"]
    if revision > HEAD:
        return [f"its schema {revision} is newer than {HEAD}, which this usersvc knows: install that version"]
    return []
