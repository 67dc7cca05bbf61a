"""The database's schema: made and brought up to date, or refused."""

import time
from collections.abc import Callable

from usersvc import logs
from usersvc.core import Core, Tx
from usersvc.db.schema import Schema, occupied, revision, state
from usersvc.db.types import will_last
from usersvc.errors import (
    CopyUnfinished,
    DatabaseNotEmpty,
    DatabaseUnavailable,
    NoDatabase,
    NotRestored,
    SchemaOutdated,
    SchemaTooNew,
)

_LOOK_SECONDS = 0.2

_log = logs.get("usersvc.schema")


def look(core: Core) -> Schema:
    """Where the schema stands. Makes nothing, not even an empty file."""
    if not core.database.exists():
        return Schema.ABSENT
    with core.read() as tx:
        return state(tx.connection)


def wait_for_server(core: Core, *, stopping: Callable[[], bool] = lambda: False, seconds: float = 60) -> bool:
    """Wait for a database server that is just being started; False where `stopping`.

    A file is there or not: it is not waited for. Raises DatabaseUnavailable when the time is over, and at
    once where waiting cannot help: a wrong password, a database that the server does not have.
    """
    deadline = time.monotonic() + seconds
    told = False
    while not stopping():
        try:
            return core.database.path is not None or core.database.exists()
        except DatabaseUnavailable as error:
            if will_last(error) or time.monotonic() >= deadline:
                raise
            if not told:
                _log.info("waiting for the database", reason=str(error))
                told = True
            time.sleep(_LOOK_SECONDS)
    return False


def is_absent(core: Core) -> bool:
    """Whether there is no database, or one that nothing was made in yet."""
    return look(core) is Schema.ABSENT


def require_current(core: Core) -> None:
    """Raises NoDatabase, SchemaOutdated, SchemaTooNew, CopyUnfinished or NotRestored."""
    match look(core):
        case Schema.ABSENT:
            raise NoDatabase(
                f"There is no database at {core.database.address}: wrong folder, or run `usersvc migrate`."
                if core.database.path
                else f"Nothing was made in {core.database.address} yet: run `usersvc migrate`."
            )
        case Schema.OUTDATED:
            raise SchemaOutdated
        case Schema.TOO_NEW:
            raise SchemaTooNew
        case Schema.UNFINISHED:
            raise CopyUnfinished
        case Schema.BACKUP:
            raise NotRestored


def is_begun(tx: Tx, mark: str) -> bool:
    """Whether the database is this copy, unfinished; else it is free to be copied into.

    Raises DatabaseNotEmpty where it holds anything else, SchemaTooNew.
    """
    if revision(tx.connection) == mark:
        return True
    found = state(tx.connection)
    if found is Schema.UNFINISHED:
        raise DatabaseNotEmpty(
            "There is an unfinished copy of another database, or one that another version of usersvc began: "
            "empty it first."
        )
    if name := occupied(tx.connection):
        raise DatabaseNotEmpty(
            f"The database to copy into holds something already, in the table {name}: take an empty one."
        )
    if found is Schema.TOO_NEW:
        raise SchemaTooNew
    return False
