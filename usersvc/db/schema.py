"""Which schema a database has, told without Alembic, whose import costs more than a small command."""

from datetime import UTC, datetime
from enum import Enum

from sqlalchemy import Connection, func, inspect, select, text

from usersvc.db.models import metadata

HEAD = "0010"
_VERSION = "alembic_version"
_COPY = "copy-"
_BACKUP = "backup-"
_TO_THE_SECOND = "%Y%m%dT%H%M%SZ"


class Schema(Enum):
    ABSENT = "absent"
    OUTDATED = "outdated"
    CURRENT = "current"
    TOO_NEW = "too new"
    UNFINISHED = "unfinished"
    """A copy of another database, not yet complete."""
    BACKUP = "backup"
    """A backup that was put in the place of the database by hand: what it revives was not ended yet."""


def revision(connection: Connection) -> str | None:
    """The revision a database stands at; None where no migration ever ran."""
    if not inspect(connection).has_table(_VERSION):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def state(connection: Connection) -> Schema:
    """Revisions are numbered, so that one from a newer version can be told from an older one."""
    current = revision(connection)
    if current is None:
        return Schema.ABSENT
    if current == HEAD:
        return Schema.CURRENT
    if current.startswith(_COPY):
        return Schema.UNFINISHED
    if current.startswith(_BACKUP):
        return Schema.BACKUP
    return Schema.TOO_NEW if current > HEAD else Schema.OUTDATED


def mark_of_copy(source: str) -> str:
    """What stands in the place of the revision while a database is copied; `source` has 16 characters.

    One value says that the copy is unfinished, of what, and with which schema. A usersvc that knows of no
    copies takes it for a newer schema, and refuses it too.
    """
    return f"{_COPY}{HEAD}-{source}"


def mark_unfinished(connection: Connection, mark: str) -> None:
    _set(connection, mark)


def _set(connection: Connection, mark: str) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = :mark"), {"mark": mark})


def mark_finished(connection: Connection, mark: str) -> bool:
    """False where this copy is not there any more, or was finished already."""
    statement = "UPDATE alembic_version SET version_num = :head WHERE version_num = :mark"
    return connection.execute(text(statement), {"head": HEAD, "mark": mark}).rowcount == 1


def mark_of_backup(revision: str, made_at: datetime) -> str:
    """What stands in the place of the revision in a backup: its schema, and when it was made.

    So nothing serves from one that was only copied into place. A usersvc that knows of no backups takes it
    for a newer schema, and refuses it too.
    """
    return f"{_BACKUP}{revision}-{made_at.astimezone(UTC):{_TO_THE_SECOND}}"


def unmarked(found: str) -> tuple[str, datetime | None]:
    """The schema of a backup, and when it was made; of anything else what was found, and None."""
    if not found.startswith(_BACKUP):
        return found, None
    _, of, at = found.split("-")
    return of, datetime.strptime(at, _TO_THE_SECOND).replace(tzinfo=UTC)


def release_backup(connection: Connection) -> None:
    """From now on it is a database as any other; nothing where it is one already."""
    found = revision(connection)
    if found and found.startswith(_BACKUP):
        _set(connection, unmarked(found)[0])


def occupied(connection: Connection) -> str | None:
    """The name of a table that is another program's, or that has rows; None where there is neither."""
    ours = metadata.tables if revision(connection) else {}
    for name in sorted(set(inspect(connection).get_table_names()) - {_VERSION}):
        if name not in ours:
            return name
        first = select(func.count()).select_from(select(1).select_from(ours[name]).limit(1).subquery())
        if connection.execute(first).scalar_one():
            return name
    return None
