"""The database behind a core's back, whichever it is: other processes, writes that fail, plans."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, event, text
from sqlalchemy.sql.elements import TextClause

from usersvc.core import Core
from usersvc.db.engine import database_from
from usersvc.db.models import metadata

_REFUSE = {
    "sqlite": "CREATE TRIGGER broken BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "CREATE TRIGGER broken BEFORE {event} ON {table} EXECUTE FUNCTION refuse()",
}


def statement(sql: str, **values: object) -> TextClause:
    """As it stands, with ids as each database keeps them."""
    ids = [bindparam(name, type_=Uuid) for name, value in values.items() if isinstance(value, UUID)]
    return text(sql).bindparams(*ids).bindparams(**values)


def run(core: Core, sql: str, **values: object) -> int:
    """How many rows it met."""
    with core.write() as tx:
        return tx.connection.execute(statement(sql, **values)).rowcount


def rows(core: Core, sql: str, **values: object) -> list[Any]:
    with core.read() as tx:
        return list(tx.connection.execute(statement(sql, **values)))


@contextmanager
def elsewhere(core: Core) -> Iterator[Connection]:
    """A transaction of another process, committed at the end."""
    database = database_from(core.settings)
    try:
        with database.writing() as connection:
            yield connection
            connection.commit()
    finally:
        database.close()


@contextmanager
def before_next_write(core: Core, sql: str, **values: object) -> Iterator[None]:
    """Another process runs this statement just before the next transaction of this core begins."""
    happened = False

    def interfere(*_: object) -> None:
        nonlocal happened
        if happened:
            return
        happened = True
        with elsewhere(core) as other:
            assert other.execute(statement(sql, **values)).rowcount == 1

    with _as_it_begins(core.database, interfere):
        yield
    assert happened, "nothing was written"


@contextmanager
def _as_it_begins(database: Any, interfere: Callable[..., None]) -> Iterator[None]:
    if database.path is None:
        event.listen(database._writer, "begin", interfere)
        try:
            yield
        finally:
            event.remove(database._writer, "begin", interfere)
        return
    # The beginning takes SQLite's lock; the turn in this process comes before.
    lock = database._lock
    acquire = lock.acquire

    def acquired(timeout: float) -> bool:
        got: bool = acquire(timeout)
        interfere()
        return got

    lock.acquire = acquired
    try:
        yield
    finally:
        lock.acquire = acquire


@contextmanager
def refusing(core: Core, happening: str, table: str) -> Iterator[None]:
    """Every INSERT, UPDATE or DELETE (`happening`) of this table fails meanwhile."""
    kind = "postgresql" if core.settings.on_postgresql else "sqlite"
    if kind == "postgresql":
        body = "$$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql"
        run(core, f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS {body}")
    run(core, _REFUSE[kind].format(event=happening, table=table))
    try:
        yield
    finally:
        run(core, "DROP TRIGGER broken" + (f" ON {table}" if kind == "postgresql" else ""))


def dump(core: Core) -> str:
    """Everything that stands in any table, bytes in hex."""
    with core.read() as tx:
        values = [
            value
            for table in metadata.tables.values()
            for row in tx.connection.execute(table.select())
            for value in row
        ]
    return "\n".join(value.hex() if isinstance(value, bytes) else str(value) for value in values)


@contextmanager
def locked(core: Core) -> Iterator[None]:
    """Another process holds on to everything that could be written; reads go on."""
    with elsewhere(core) as other:
        if core.settings.on_postgresql:
            other.execute(text(f"LOCK TABLE {', '.join(metadata.tables)} IN EXCLUSIVE MODE"))
        yield
