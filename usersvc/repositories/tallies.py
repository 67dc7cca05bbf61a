"""How many there are, counted up to a bound: what an index holds of them is walked, and no further.

So a look costs the same at a million rows as at `most`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal, select, text

from usersvc.db.models import audit, outbox, sessions, users, webhook_deliveries
from usersvc.security.secrets import first_id

_SIZE = {
    "sqlite": text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
    "postgresql": text("SELECT pg_database_size(current_database())"),
}


class Tallies:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def users_by_status(self, *, most: int) -> dict[str, int]:
        return self._by_status(users, ("active", "pending", "invited", "deactivated"), most)

    def mails_by_status(self, *, most: int) -> dict[str, int]:
        return self._by_status(outbox, ("due", "sent", "dead", "failed", "dropped"), most)

    def deliveries_by_status(self, *, most: int) -> dict[str, int]:
        return self._by_status(webhook_deliveries, ("due", "sent", "dead", "failed", "dropped"), most)

    def live_sessions(self, at: datetime, *, most: int) -> int:
        live = (sessions.c.ended_at.is_(None), sessions.c.expires_at > at, sessions.c.absolute_at > at)
        return self._count(sessions, live, most)

    def entries(self, action: str, *, since: datetime, most: int) -> int:
        """Of the audit."""
        return self._count(audit, (audit.c.action == action, audit.c.id >= first_id(since)), most)

    def database_bytes(self) -> int:
        """Without SQLite's write-ahead log."""
        return int(self._connection.execute(_SIZE[self._connection.dialect.name]).scalar_one())

    def _by_status(self, table: Table, statuses: Iterable[str], most: int) -> dict[str, int]:
        return {status: self._count(table, [table.c.status == status], most) for status in statuses}

    def _count(self, table: Table, conditions: Iterable[ColumnElement[Any]], most: int) -> int:
        some = select(literal(1).label("one")).select_from(table).where(*conditions).limit(most)
        return self._connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()
