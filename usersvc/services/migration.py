"""Making a database and migrating it."""

from sqlalchemy import Connection

from usersvc.core import Core, Tx, retried
from usersvc.db.schema import HEAD, Schema, mark_unfinished, revision, state
from usersvc.errors import CopyUnfinished, DatabaseUnavailable, NotRestored, SchemaTooNew
from usersvc.services import schema
from usersvc.services.actor import Actor

_START = Actor.job("start")


@retried
def prepare(core: Core, *, actor: Actor = _START) -> bool:
    """Make the database where there is none and migrate it where it is older; whether it changed.

    Any number of processes may do so at once: one migrates, the others wait for it. A migration
    that fails leaves the schema as it was. Raises SchemaTooNew, CopyUnfinished and NotRestored, and then
    changes nothing.
    """
    _refuse_an_emptied_file(core)
    core.database.create()
    with core.read() as tx:
        if state(tx.connection) is Schema.CURRENT:
            return False
    with core.write(wait=60) as tx:
        core.database.alone(tx.connection)
        found = state(tx.connection)
        if found is Schema.TOO_NEW:
            raise SchemaTooNew
        if found is Schema.UNFINISHED:
            raise CopyUnfinished
        if found is Schema.BACKUP:
            raise NotRestored
        if found is Schema.CURRENT:
            return False
        upgrade(tx, actor)
    return True


def upgrade(tx: Tx, actor: Actor) -> None:
    """Bring an older schema up to date, in this transaction."""
    before = revision(tx.connection)
    _upgrade(tx.connection)
    tx.audit(actor, "schema.migrated", before=before, after=HEAD)


@retried
def prepare_copy(core: Core, *, mark: str) -> None:
    """Make an empty database ready to be copied into; safe to repeat.

    From here on it is marked as unfinished, so that nothing else works on it. Raises DatabaseNotEmpty and
    SchemaTooNew, and then changes nothing.
    """
    core.database.create()
    with core.write(wait=60) as tx:
        core.database.alone(tx.connection)
        if not schema.is_begun(tx, mark):
            _upgrade(tx.connection)
            mark_unfinished(tx.connection, mark)


def _upgrade(connection: Connection) -> None:
    """With Alembic, which is slow to import and needed by few."""
    from usersvc.db import migrate

    migrate.upgrade(connection)


def _refuse_an_emptied_file(core: Core) -> None:
    """The secret key is made after the tables are: beside one, an empty file was a database once."""
    path, secret = core.database.path, core.settings.secret_key_path
    if path and path.exists() and path.stat().st_size == 0 and secret.exists():
        raise DatabaseUnavailable(
            f"{path} is empty, but {secret.name} shows that there was a database: restore it from a backup, "
            "or delete the empty file to begin anew."
        )
