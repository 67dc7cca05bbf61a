"""The database's schema: made and brought up to date, or refused."""

from usersvc.core import Core
from usersvc.db.schema import Schema, state
from usersvc.errors import NoDatabase, SchemaOutdated, SchemaTooNew


def look(core: Core) -> Schema:
    """Where the schema stands. Makes nothing, not even an empty file."""
    if not core.database.path.exists():
        return Schema.ABSENT
    with core.read() as tx:
        return state(tx.connection)


def require_current(core: Core) -> None:
    """Raises NoDatabase, SchemaOutdated or SchemaTooNew."""
    match look(core):
        case Schema.ABSENT:
            raise NoDatabase(
                f"There is no database at {core.database.path}: wrong folder, or run `usersvc migrate`."
            )
        case Schema.OUTDATED:
            raise SchemaOutdated
        case Schema.TOO_NEW:
            raise SchemaTooNew
