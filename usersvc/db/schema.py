"""Which schema a database has, told without Alembic, whose import costs more than a small command."""

from enum import Enum

from sqlalchemy import Connection, inspect, text

HEAD = "0002"


class Schema(Enum):
    ABSENT = "absent"
    OUTDATED = "outdated"
    CURRENT = "current"
    TOO_NEW = "too new"


def revision(connection: Connection) -> str | None:
    """The revision a database stands at; None where no migration ever ran."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def state(connection: Connection) -> Schema:
    """Revisions are numbered, so that one from a newer version can be told from an older one."""
    current = revision(connection)
    if current is None:
        return Schema.ABSENT
    if current == HEAD:
        return Schema.CURRENT
    return Schema.TOO_NEW if current > HEAD else Schema.OUTDATED
