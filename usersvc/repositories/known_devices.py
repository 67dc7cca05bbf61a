"""Which devices each account has logged in from; as digests, the table names none."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, case, delete, func, select

from usersvc.db.models import known_devices
from usersvc.db.types import insert_or_update
from usersvc.repositories.purging import delete_some

# Built once: every login asks.
_SEEN = select(
    func.max(known_devices.c.last_at),
    func.max(case((known_devices.c.device_digest == bindparam("device_digest"), known_devices.c.last_at))),
).where(known_devices.c.user_id == bindparam("user_id"), known_devices.c.last_at >= bindparam("since"))


class KnownDevices:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def seen(
        self, user_id: UUID, device_digest: bytes, *, since: datetime
    ) -> tuple[datetime | None, datetime | None]:
        """When any device of the account was seen last, and when this one was; None: not since then."""
        values = {"user_id": user_id, "device_digest": device_digest, "since": since}
        any_device, this_device = self._connection.execute(_SEEN, values).one()
        return any_device, this_device

    def remember(self, user_id: UUID, device_digest: bytes, *, at: datetime) -> None:
        row = {"user_id": user_id, "device_digest": device_digest, "last_at": at}
        insert_or_update(self._connection, known_devices, row, on=["user_id", "device_digest"])

    def forget_all(self) -> None:
        """Where the key of their digests is another one, none of them is found again."""
        self._connection.execute(delete(known_devices))

    def forget(self, user_id: UUID) -> None:
        """All of this account."""
        self._connection.execute(delete(known_devices).where(known_devices.c.user_id == user_id))

    def count_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(known_devices).where(known_devices.c.last_at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_before(self, before: datetime, *, limit: int) -> int:
        return len(
            delete_some(self._connection, known_devices, known_devices.c.last_at < before, limit=limit)
        )
