"""Making a database and migrating it; apart from schema.py because Alembic is slow to import."""

from usersvc.core import Core
from usersvc.db import migrate
from usersvc.db.schema import Schema, state
from usersvc.errors import SchemaTooNew


def prepare(core: Core) -> bool:
    """Make the database where there is none and migrate it where it is older; whether it changed.

    Any number of processes may do so at once: one migrates, the others wait for it. A migration
    that fails leaves the schema as it was. Raises SchemaTooNew, and then changes nothing.
    """
    core.database.create_file()
    with core.read() as tx:
        if state(tx.connection) is Schema.CURRENT:
            return False
    with core.write(wait=60) as tx:
        found = state(tx.connection)
        if found is Schema.TOO_NEW:
            raise SchemaTooNew
        if found is Schema.CURRENT:
            return False
        migrate.upgrade(tx.connection)
    return True
