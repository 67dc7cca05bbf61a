"""What differs between databases: column types, inserts that may meet a row, errors."""

import sqlite3
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Insert, String, Table, TypeDecorator
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.types import TypeEngine

from usersvc.db.prepared import Prepared
from usersvc.errors import DatabaseBusy, DatabaseUnavailable, DomainError

# For a turn to write, or for what another transaction holds.
WRITE_WAIT_SECONDS = 3.0


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; text that sorts on SQLite, timestamptz on PostgreSQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def key_type(length: int) -> TypeEngine[str]:
    """Text that is compared byte by byte on both databases, so that ranges of it mean the same."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def insert_if_absent(connection: Connection, table: Table, values: dict[str, Any], *, on: list[str]) -> bool:
    """Insert unless a row with the same `on` columns stands; whether a row was inserted.

    Unlike insert-and-catch it does not kill a transaction on PostgreSQL.
    """
    return _insert_if_absent(connection.dialect.name, table, *on).rowcount(connection, values) == 1


def insert_or_update(connection: Connection, table: Table, values: dict[str, Any], *, on: list[str]) -> None:
    """Insert, or give the row with the same `on` columns these values."""
    connection.execute(_insert_or_update(connection.dialect.name, table, *on), values)


def insert_each_if_absent(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> set[Any]:
    """Insert those of which no row has an equal value of any unique index; the ids of those that went in."""
    statement = _insert_each_if_absent(connection.dialect.name, table)
    return set(connection.execute(statement, rows).scalars())


# Built once: to build them took longer than to run them.
@cache
def _insert_each_if_absent(dialect: str, table: Table) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing().returning(table.c.id)


@cache
def _insert_if_absent(dialect: str, table: Table, *on: str) -> Prepared:
    return Prepared(_insert(dialect, table).on_conflict_do_nothing(index_elements=on))


@cache
def _insert_or_update(dialect: str, table: Table, *on: str) -> Insert:
    """Sets all columns that are not in `on`."""
    statement = _insert(dialect, table)
    given = {column.name: statement.excluded[column.name] for column in table.c if column.name not in on}
    updated: Insert = statement.on_conflict_do_update(index_elements=on, set_=given)
    return updated


def _insert(dialect: str, table: Table) -> Any:
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


_SQLITE_TROUBLE = {
    sqlite3.SQLITE_READONLY: "The database is read-only.",
    sqlite3.SQLITE_FULL: "The disk is full.",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged; restore it from a backup.",
    sqlite3.SQLITE_NOTADB: "The database file is not a database.",
    sqlite3.SQLITE_IOERR: "The database file cannot be read or written.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
    sqlite3.SQLITE_PERM: "The database file cannot be opened.",
}

_REFUSED = "The database refuses this user."
_MISSING = "There is no such database on the server."
_FORBIDDEN = "The database refuses this user the tables."
# Of connecting, libpq tells no code.
_IN_WORDS = {
    "password authentication failed": _REFUSED,
    "no password supplied": _REFUSED,
    "no pg_hba.conf entry": _REFUSED,
    "role ": _REFUSED,
    "does not exist": _MISSING,
}

# PostgreSQL's classes and codes of errors, by how they begin; appendix A of its manual.
READ_ONLY = "25006"
_BUSY_STATES = ("40001", "40P01", "55P03", "57014", "25P03")
_POSTGRESQL_TROUBLE = {
    READ_ONLY: "The database is read-only.",
    "28": _REFUSED,
    "3D": _MISSING,
    "42501": _FORBIDDEN,
    "53100": "The disk of the database is full.",
    "53": "The database has no room for more.",
    "57P": "The database is being stopped or started.",
    "58": "The database cannot be read or written.",
    "XX": "The database is damaged.",
    "08": "The connection to the database broke.",
}


def is_conflict(error: BaseException | None) -> bool:
    """Whether two transactions were in each other's way, so that this one can be run again as a whole."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in ("40001", "40P01")


def will_last(error: DomainError) -> bool:
    """Whether a database that cannot be used stays so unless somebody acts."""
    return str(error) in (_REFUSED, _MISSING, _FORBIDDEN)


def unavailability(error: DBAPIError | PoolTimeout) -> DomainError | None:
    """The fact behind a database error that is nobody's mistake in a statement; None where it is a bug."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(retry_after=1)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return _postgresql_unavailability(error)
    primary = code & 0xFF  # The rest of the code tells which kind of it.
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return DatabaseBusy(retry_after=1)
    message = _SQLITE_TROUBLE.get(primary)
    return DatabaseUnavailable(message, retry_after=30) if message else None


def _postgresql_unavailability(error: DBAPIError) -> DomainError | None:
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _BUSY_STATES:
        return DatabaseBusy(retry_after=1)
    for begins, message in _POSTGRESQL_TROUBLE.items():
        if state.startswith(begins):
            return DatabaseUnavailable(message, retry_after=5)
    # Without a state nobody was connected: the server is away, or the connection broke.
    if error.connection_invalidated or (isinstance(error, OperationalError) and not state):
        told = str(error.orig)
        known = next((fact for words, fact in _IN_WORDS.items() if words in told), None)
        return DatabaseUnavailable(known, retry_after=5)
    return None
