"""The key ring's rows, and the one row that knows the secret key again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from usersvc.db.models import instance, keys
from usersvc.db.types import insert_if_absent
from usersvc.security.secrets import digest


@dataclass(frozen=True)
class StoredKey:
    kid: str
    use: str
    algorithm: str
    public_jwk: dict[str, Any] | None
    private_wrapped: bytes
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None = None
    compromised_at: datetime | None = None


_COLUMNS = [keys.c[name] for name in StoredKey.__dataclass_fields__]


class Keys:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[StoredKey]:
        return [StoredKey(*row) for row in self._connection.execute(select(*_COLUMNS))]

    def latest(self) -> datetime | None:
        return self._connection.execute(select(func.max(keys.c.created_at))).scalar()

    def insert(self, key: StoredKey) -> None:
        self._connection.execute(insert(keys).values(**vars(key)))

    def retire(self, kid: str, *, at: datetime) -> None:
        """From then on it signs no more."""
        self._connection.execute(update(keys).where(keys.c.kid == kid).values(retired_at=at))

    def refuse(self, kid: str, *, at: datetime, retired_at: datetime) -> None:
        """What it signed is good no more, and it signs no more."""
        values = {"compromised_at": at, "retired_at": retired_at}
        self._connection.execute(update(keys).where(keys.c.kid == kid).values(values))

    def sign_on(self, kid: str) -> None:
        """It is not retired after all."""
        self._connection.execute(update(keys).where(keys.c.kid == kid).values(retired_at=None))

    def sign_from(self, kid: str, *, at: datetime) -> None:
        self._connection.execute(update(keys).where(keys.c.kid == kid).values(signs_from=at))

    def rewrap(self, kid: str, wrapped: bytes) -> None:
        self._connection.execute(update(keys).where(keys.c.kid == kid).values(private_wrapped=wrapped))

    def delete(self, kid: str) -> None:
        self._connection.execute(delete(keys).where(keys.c.kid == kid))

    def hold(self) -> bytes | None:
        """The check value of the secret key; nobody else changes keys before this transaction ends."""
        return self._connection.execute(select(instance.c.secret_check).with_for_update()).scalar()

    def replace_secret(self, check: bytes) -> None:
        self._connection.execute(update(instance).values(secret_check=check))

    def secret_check(self) -> bytes | None:
        return self._connection.execute(select(instance.c.secret_check)).scalar()

    def fingerprint(self) -> str | None:
        """16 characters that tell this instance from others, also from those under the same secret key."""
        made = self._connection.execute(select(instance.c.secret_check, instance.c.created_at)).first()
        return digest(f"{made.secret_check.hex()} {made.created_at.isoformat()}").hex()[:16] if made else None

    def remember_secret(self, check: bytes, *, at: datetime) -> bool:
        """False where the database knows a secret key already."""
        values = {"id": 1, "secret_check": check, "created_at": at}
        return insert_if_absent(self._connection, instance, values, on=["id"])
