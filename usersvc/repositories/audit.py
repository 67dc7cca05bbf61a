"""The audit: one row for every security event, never changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select

from usersvc.db.models import audit


class WhoActs(Protocol):
    """What an entry keeps of the actor (services/actor.py)."""

    @property
    def kind(self) -> str: ...
    @property
    def user_id(self) -> UUID | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def ip(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...


@dataclass(frozen=True)
class AuditEntry:
    id: UUID
    at: datetime
    actor_kind: str
    actor_id: UUID | None
    actor_name: str | None
    action: str
    target_id: UUID | None
    ip: str | None
    outcome: str
    request_id: str | None
    detail: dict[str, Any]


class Audit:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, entry: AuditEntry) -> None:
        self._connection.execute(insert(audit).values(**vars(entry)))

    def latest(self) -> datetime | None:
        return self._connection.execute(select(func.max(audit.c.at))).scalar()

    def count_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(audit).where(audit.c.at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_before(self, before: datetime, *, limit: int) -> int:
        chosen = select(audit.c.id).where(audit.c.at < before).limit(limit)
        return self._connection.execute(delete(audit).where(audit.c.id.in_(chosen))).rowcount
