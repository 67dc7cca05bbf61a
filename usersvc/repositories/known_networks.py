"""From which networks each account has logged in; as digests, the table names none."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, select

from usersvc.db.models import logins_from
from usersvc.db.types import insert_or_update
from usersvc.repositories.purging import delete_some

# Built once: to build it took longer than to run it.
_KNOWS = select(logins_from.c.last_at).where(
    logins_from.c.user_id == bindparam("user_id"),
    logins_from.c.network_digest == bindparam("network_digest"),
    logins_from.c.last_at >= bindparam("since"),
)


class KnownNetworks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def knows(self, user_id: UUID, network_digest: bytes, *, since: datetime) -> bool:
        """Whether the account has logged in from there since then."""
        values = {"user_id": user_id, "network_digest": network_digest, "since": since}
        return self._connection.execute(_KNOWS, values).first() is not None

    def remember(self, user_id: UUID, network_digest: bytes, *, at: datetime) -> None:
        row = {"user_id": user_id, "network_digest": network_digest, "last_at": at}
        insert_or_update(self._connection, logins_from, row, on=["user_id", "network_digest"])

    def forget(self, user_id: UUID) -> None:
        """All of this account."""
        self._connection.execute(delete(logins_from).where(logins_from.c.user_id == user_id))

    def count_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(logins_from).where(logins_from.c.last_at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, logins_from, logins_from.c.last_at < before, limit=limit))
