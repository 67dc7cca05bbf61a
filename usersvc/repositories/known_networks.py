"""From which networks each account has logged in; as digests, the table names none."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select, update

from usersvc.db.models import logins_from
from usersvc.db.types import insert_if_absent
from usersvc.repositories.purging import delete_some

# Built once: to build them took longer than to run them.
_SAME = (
    logins_from.c.user_id == bindparam("b_user_id"),
    logins_from.c.network_digest == bindparam("b_network_digest"),
)
_KNOWS = select(logins_from.c.last_at).where(*_SAME, logins_from.c.last_at >= bindparam("since"))
_UPDATE = update(logins_from).where(*_SAME)


class KnownNetworks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def knows(self, user_id: UUID, network_digest: bytes, *, since: datetime) -> bool:
        """Whether the account has logged in from there since then."""
        values = {"b_user_id": user_id, "b_network_digest": network_digest, "since": since}
        return self._connection.execute(_KNOWS, values).first() is not None

    def remember(self, user_id: UUID, network_digest: bytes, *, at: datetime) -> None:
        row = {"user_id": user_id, "network_digest": network_digest, "last_at": at}
        if insert_if_absent(self._connection, logins_from, row, on=["user_id", "network_digest"]):
            return
        values = {"b_user_id": user_id, "b_network_digest": network_digest, "last_at": at}
        self._connection.execute(_UPDATE, values)

    def count_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(logins_from).where(logins_from.c.last_at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, logins_from, logins_from.c.last_at < before, limit=limit))
