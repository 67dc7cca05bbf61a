"""Database files of SQLite as wholes: copied while they are written, looked into, put in place."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from usersvc.db.backups import Contents, Newest, problems_of_schema
from usersvc.db.models import metadata
from usersvc.db.schema import mark_of_backup, revision, unmarked
from usersvc.db.sqlite import driver_connection
from usersvc.db.types import unavailability
from usersvc.errors import DatabaseInUse, DatabaseUnavailable
from usersvc.files import sync_folder

if sys.platform != "win32":
    import fcntl

_PAGES_A_STEP = 1000
_MOST_PROBLEMS = 5
# Where SQLite holds its lock for readers (https://sqlite.org/fileformat2.html, "the lock-byte page").
_LOCK_BYTES = (510, 0x40000002)
_SUFFIXES = ("-wal", "-shm", "-journal")

# Hears how much is done, of how much.
Progress = Callable[[int, int], object]


def back_up(connection: Connection, to: Path, *, made_at: datetime, progress: Progress) -> None:
    """Copy the database into an empty file, as it stands where this connection's snapshot begins.

    In steps, so that the progress is seen; all of them in one snapshot, or the copy would begin anew at each
    write of others. They go on writing meanwhile, and the write-ahead log grows by what they write. What
    comes of it is one file, marked as a backup.
    """
    with _facts(), closing(sqlite3.connect(to, isolation_level=None)) as target:
        # It is worth nothing before it is complete, and is synced then.
        target.execute("PRAGMA synchronous = OFF")
        # The snapshot begins with the first read.
        found = revision(connection) or ""
        driver_connection(connection).backup(
            target,
            pages=_PAGES_A_STEP,
            progress=lambda _, left, pages: progress(pages - left, pages),
        )
        # Nobody is to need a log beside it.
        target.execute("PRAGMA journal_mode = DELETE")
        target.execute("UPDATE alembic_version SET version_num = ?", [mark_of_backup(found, made_at)])


def is_marked(path: Path) -> bool:
    """Whether the file says that it is a backup."""
    with contextlib.suppress(sqlite3.DatabaseError), closing(_read_only(path)) as file:
        found = _scalar(file, "SELECT version_num FROM alembic_version")
        return bool(found and unmarked(found)[1])
    return False


def contents(path: Path) -> Contents:
    """Of a file that nobody writes. It is not changed, and nothing is made beside it."""
    with closing(_read_only(path)) as file:
        try:
            return _contents(path, file)
        except (sqlite3.DatabaseError, ValueError) as error:
            damage = [f"it is damaged: {error}"]
            return Contents("sqlite", None, None, None, {}, Newest.of([]), damage)


def _contents(path: Path, file: sqlite3.Connection) -> Contents:
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = _scalar(file, "SELECT version_num FROM alembic_version") if "alembic_version" in tables else None
    of, made_at = unmarked(found) if found else (None, None)
    problems = [*_of_neighbours(path), *_of_the_file(file), *problems_of_schema(of)]
    newest = Newest.of([])
    if "audit" in tables and (last := _scalar(file, "SELECT max(id) FROM audit")):
        since = Newest.of([UUID(last)]).since
        entries = file.execute("SELECT id FROM audit WHERE id >= ?", [since.hex])
        newest = Newest.of(UUID(entry) for (entry,) in entries)
    return Contents(
        kind="sqlite",
        made_at=made_at or newest.at,
        revision=of,
        secret_check=_scalar(file, "SELECT secret_check FROM instance") if "instance" in tables else None,
        rows={name: _count(file, name) for name in metadata.tables if name in tables},
        newest=newest,
        problems=problems,
    )


def _of_neighbours(path: Path) -> list[str]:
    """A database that was copied while it was used, without or with its log, is torn."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return [f"{log.name} lies beside it: it is a database in use, or was copied from one, and no backup"]
    return []


def _of_the_file(file: sqlite3.Connection) -> list[str]:
    whole = [str(row[0]) for row in file.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
    if whole != ["ok"]:
        return [f"it is damaged: {line}" for line in whole]
    lost = {(table, parent) for table, _, parent, _ in file.execute("PRAGMA foreign_key_check")}
    return [f"rows of {table} refer to rows of {parent} that are not there" for table, parent in sorted(lost)]


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Nobody else has the file open, or comes to write before the block ends; it has no log meanwhile.

    Raises DatabaseInUse. A file that is damaged, so that SQLite cannot tell, is asked for the lock itself.
    """
    with closing(
        sqlite3.connect(_address(path, "mode=rw"), uri=True, isolation_level=None, timeout=0.5)
    ) as file:
        try:
            # Whoever has it open in WAL holds a lock on it all the time, also while nothing is asked.
            file.execute("PRAGMA journal_mode = DELETE")
            file.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise DatabaseInUse from None
            is_whole = False
        else:
            is_whole = True
        if not is_whole:
            _require_unlocked(path)
        yield
        if is_whole:
            file.execute("ROLLBACK")


def back_to_wal(path: Path) -> None:
    """As the processes that serve from it expect it."""
    with contextlib.suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")


def put_in_place(new: Path, path: Path, *, kept: Path | None) -> None:
    """Let a complete file take the place of the database, whose own stays beside it as `kept`.

    At every moment one of the two is there, whole. What lies beside the old one goes along: a log of another
    database would damage the new one.
    """
    if kept:
        os.link(path, kept)
    for suffix in _SUFFIXES:
        beside = path.with_name(path.name + suffix)
        if kept and beside.exists():
            os.replace(beside, kept.with_name(kept.name + suffix))
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    os.replace(new, path)
    sync_folder(path.parent)


def _require_unlocked(path: Path) -> None:
    if sys.platform == "win32":
        return
    with path.open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_LOCK_BYTES)
        except OSError:
            raise DatabaseInUse from None


def _address(path: Path, how: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{how}"


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(_address(path, "mode=ro&immutable=1"), uri=True, isolation_level=None)


def _scalar(file: sqlite3.Connection, statement: str) -> Any:
    row = file.execute(statement).fetchone()
    return row[0] if row else None


def _count(file: sqlite3.Connection, table: str) -> int:
    [rows] = file.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - a table of ours
    return int(rows)


@contextmanager
def _facts() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        fact = unavailability(DBAPIError("BACKUP", None, error))
        raise fact or DatabaseUnavailable(f"The database cannot be copied: {error}.") from error
