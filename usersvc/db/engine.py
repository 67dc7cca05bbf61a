"""What every database can do, and which one the settings name."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from usersvc.db.bounds import bounds_of
from usersvc.db.sqlite import SqliteDatabase
from usersvc.db.types import WRITE_WAIT_SECONDS
from usersvc.settings import Settings


class Database(Protocol):
    """Opens nothing until it is used; commits nothing: that is the core's."""

    address: str
    """To be shown; without a password."""

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        ...

    @property
    def log_bytes(self) -> int:
        """How long the write-ahead log beside the file is."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection in one snapshot, which cannot write. Raises DatabaseUnavailable, DatabaseBusy."""
        ...

    def glancing(self) -> AbstractContextManager[Connection]:
        """A connection for one statement that reads, a snapshot by itself. Raises as `reading`."""
        ...

    def writing(self, wait: float = WRITE_WAIT_SECONDS) -> AbstractContextManager[Connection]:
        """A connection, its transaction begun. Raises DatabaseBusy after `wait` seconds for others."""
        ...

    def alone(self, connection: Connection) -> None:
        """Wait until no other transaction asks for this, and let none go on before this one ends."""
        ...

    def exists(self) -> bool:
        """Whether there is a database to look into; makes none. Raises DatabaseUnavailable."""
        ...

    def create(self) -> None:
        """Make it where that is ours to do; safe to repeat."""
        ...

    def may_lose_commits(self) -> bool:
        """Whether what was acknowledged may be lost when the power is."""
        ...

    def checkpoint(self, *, above_bytes: int) -> None:
        """Empty the write-ahead log where it grew above this size."""
        ...

    def close(self) -> None: ...


def database_from(settings: Settings) -> Database:
    if not settings.on_postgresql:
        return SqliteDatabase(settings.database_path)
    from usersvc.db.postgresql import PostgreSqlDatabase

    return PostgreSqlDatabase(settings.database.url, bounds_of(settings))
