"""The audit: one row for every security event, never changed.

An id holds its time to the microsecond, so lists are in the order of the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, func, insert, select

from usersvc.db.models import audit
from usersvc.repositories.purging import delete_some
from usersvc.security.secrets import first_id


class WhoActs(Protocol):
    """What an entry keeps of the actor (services/actor.py)."""

    @property
    def kind(self) -> str: ...
    @property
    def acting_id(self) -> UUID | None: ...
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


@dataclass(frozen=True)
class Filters:
    actor: UUID | str | None = None
    """The id of a user, or a kind of actor."""
    target: UUID | None = None
    action: str | None = None
    """Exact, or all that begin so where it ends in a dot."""
    since: datetime | None = None
    until: datetime | None = None
    """Not included."""


_COLUMNS = [audit.c[name] for name in AuditEntry.__dataclass_fields__]
# Built once: to build it took longer than to run it.
_INSERT = insert(audit)
# The character that comes after it.
_AFTER_DOT = "/"


class Audit:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, entry: AuditEntry) -> None:
        self._connection.execute(_INSERT, vars(entry))

    def insert_all(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            self._connection.execute(_INSERT, [vars(entry) for entry in entries])

    def latest(self) -> datetime | None:
        return self._connection.execute(select(func.max(audit.c.at))).scalar()

    def newest(self, filters: Filters, *, before: UUID | None, limit: int) -> list[AuditEntry]:
        """The newest first, of those whose ids come before this one."""
        found = select(*_COLUMNS).where(*_conditions(filters)).order_by(audit.c.id.desc()).limit(limit)
        return self._entries(found.where(audit.c.id < before) if before else found)

    def oldest(self, filters: Filters, *, start: UUID, limit: int) -> list[AuditEntry]:
        """The oldest first, from this id on."""
        found = select(*_COLUMNS).where(audit.c.id >= start, *_conditions(filters))
        return self._entries(found.order_by(audit.c.id).limit(limit))

    def ids_from(self, start: UUID) -> set[UUID]:
        return set(self._connection.execute(select(audit.c.id).where(audit.c.id >= start)).scalars())

    def _entries(self, found: Select[Any]) -> list[AuditEntry]:
        return [AuditEntry(*row) for row in self._connection.execute(found)]

    def count_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(audit).where(audit.c.at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, audit, audit.c.at < before, limit=limit))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.actor:
        acted = audit.c.actor_id if isinstance(filters.actor, UUID) else audit.c.actor_kind
        conditions.append(acted == filters.actor)
    if filters.target:
        conditions.append(audit.c.target_id == filters.target)
    if filters.action and filters.action.endswith("."):
        conditions.append(audit.c.action.between(filters.action, filters.action[:-1] + _AFTER_DOT))
    elif filters.action:
        conditions.append(audit.c.action == filters.action)
    if filters.since:
        conditions.append(audit.c.id >= first_id(filters.since))
    if filters.until:
        conditions.append(audit.c.id < first_id(filters.until))
    return conditions
