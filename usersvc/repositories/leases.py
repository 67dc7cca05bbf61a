"""Rows that workers take in turn: what the outbox and the deliveries of webhooks have in common.

A row is due from `next_attempt_at` on, is claimed by a lease, and is settled by who holds that: by its owner
and by the number of the attempt, so that a lease which was lost is not taken for a later one.
"""

from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Column, Connection, Table, func, or_, select, update

from usersvc.repositories.purging import delete_some


class Leased(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def attempts(self) -> int: ...
    @property
    def lease_owner(self) -> str | None: ...


R = TypeVar("R", bound=Leased)


class Leases(Generic[R]):
    _table: ClassVar[Table]
    _row: ClassVar[Any]
    _columns: ClassVar[list[Column[Any]]]

    def __init_subclass__(cls, *, table: Table, row: Any) -> None:
        """`row`: a dataclass whose fields are columns of the table."""
        cls._table, cls._row = table, row
        cls._columns = [table.c[name] for name in row.__dataclass_fields__]

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_due(self, at: datetime, *but: Any) -> bool:
        """Whether there is one that nobody has; those that do not meet the conditions `but` do not count."""
        due = select(self._table.c.id).where(*self._due(at), *but).limit(1)
        return self._connection.execute(due).first() is not None

    def claim(self, owner: str, *but: Any, at: datetime, lease_until: datetime) -> R | None:
        """Take the row that is due longest, for as long as the lease lasts; nobody else gets it."""
        table = self._table
        due = (
            select(table.c.id)
            .where(*self._due(at), *but)
            .order_by(table.c.next_attempt_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(table)
            .where(table.c.id == due)
            .values(lease_until=lease_until, lease_owner=owner, attempts=table.c.attempts + 1)
            .returning(*self._columns)
        )
        row = self._connection.execute(statement).first()
        return self._row(*row) if row else None

    def by_id(self, row_id: UUID) -> R | None:
        found = select(*self._columns).where(self._table.c.id == row_id)
        row = self._connection.execute(found).first()
        return self._row(*row) if row else None

    def count_by_status(self) -> dict[str, int]:
        counted = select(self._table.c.status, func.count()).group_by(self._table.c.status)
        return dict(tuple(row) for row in self._connection.execute(counted))

    def waiting_since(self) -> datetime | None:
        """When the oldest row that is still due was written."""
        oldest = select(func.min(self._table.c.created_at)).where(self._table.c.status == "due")
        return self._connection.execute(oldest).scalar()

    def overdue_since(self, at: datetime) -> datetime | None:
        """Since when the row lies there that is due longest and that no worker has taken."""
        oldest = select(func.min(self._table.c.next_attempt_at)).where(*self._due(at))
        return self._connection.execute(oldest).scalar()

    def revive(self, row_id: UUID, *, at: datetime, give_up_at: datetime) -> bool:
        """Make a row that was given up due again. False for any other."""
        statement = (
            update(self._table)
            .where(self._table.c.id == row_id, self._table.c.status.in_(("dead", "failed")))
            .values(status="due", attempts=0, next_attempt_at=at, give_up_at=give_up_at)
        )
        return self._connection.execute(statement).rowcount == 1

    def _hold_back(self, **why: Any) -> int:
        """Give up all that is due, whoever has it: an operator looks at it first. How many."""
        due = update(self._table).where(self._table.c.status == "due")
        held = due.values(status="dead", lease_until=None, lease_owner=None, **why)
        return self._connection.execute(held).rowcount

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(self._table).where(*self._done(before))
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        """Those that are done with; how many."""
        return len(delete_some(self._connection, self._table, *self._done(before), limit=limit))

    def _newest(self, *conditions: Any, limit: int) -> list[R]:
        columns = self._table.c
        newest = select(*self._columns).order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
        return [self._row(*row) for row in self._connection.execute(newest.where(*conditions))]

    def _due(self, at: datetime) -> tuple[Any, ...]:
        columns = self._table.c
        free = or_(columns.lease_until.is_(None), columns.lease_until <= at)
        return columns.status == "due", columns.next_attempt_at <= at, free

    def _done(self, before: datetime) -> tuple[Any, ...]:
        """What failed stays until an operator has seen it."""
        return self._table.c.status.in_(("sent", "dropped")), self._table.c.created_at < before

    def _settle(self, row: R, **values: Any) -> bool:
        """End the lease. False where it was lost to another worker."""
        table = self._table
        statement = (
            update(table)
            .where(
                table.c.id == row.id,
                table.c.status == "due",
                table.c.lease_owner == row.lease_owner,
                table.c.attempts == row.attempts,
            )
            .values(lease_until=None, lease_owner=None, **values)
        )
        return self._connection.execute(statement).rowcount == 1
