"""The key ring's rows, and the one row that knows the secret key again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

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
