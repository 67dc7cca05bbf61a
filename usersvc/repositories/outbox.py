"""Mails to be sent, written in the transaction of what causes them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, or_, select, update

from usersvc.db.models import outbox
from usersvc.repositories.purging import delete_some


@dataclass(frozen=True)
class OutboxMail:
    id: UUID
    kind: str
    user_id: UUID | None
    address: str
    link_token_id: UUID | None
    data: dict[str, Any]
    message_id: str
    status: str
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    give_up_at: datetime
    lease_until: datetime | None = None
    lease_owner: str | None = None
    last_error: str | None = None
    sent_at: datetime | None = None
    request_id: str | None = None
    """Of what caused it, for the logs."""


_COLUMNS = [outbox.c[name] for name in OutboxMail.__dataclass_fields__]
# Built once: to build it took longer than to run it.
_INSERT = insert(outbox)


class Outbox:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, mail: OutboxMail) -> None:
        self._connection.execute(_INSERT, vars(mail))

    def there_is_mail(self, at: datetime, *, without: Collection[str] = ()) -> bool:
        due = select(outbox.c.id).where(*_due(at), outbox.c.kind.not_in(without)).limit(1)
        return self._connection.execute(due).first() is not None

    def claim_next(
        self, owner: str, *, at: datetime, lease_until: datetime, without: Collection[str] = ()
    ) -> OutboxMail | None:
        """Take the mail that is due longest, for as long as the lease lasts; nobody else gets it.

        Those of the kinds in `without` are passed over.
        """
        due = (
            select(outbox.c.id)
            .where(*_due(at), outbox.c.kind.not_in(without))
            .order_by(outbox.c.next_attempt_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(outbox)
            .where(outbox.c.id == due)
            .values(lease_until=lease_until, lease_owner=owner, attempts=outbox.c.attempts + 1)
            .returning(*_COLUMNS)
        )
        row = self._connection.execute(statement).first()
        return OutboxMail(*row) if row else None

    def settle(self, mail: OutboxMail, status: str, *, at: datetime, error: str | None = None) -> bool:
        """Close a claimed mail. False where the lease was lost to another worker."""
        sent_at = at if status == "sent" else None
        return self._settle(mail, status=status, sent_at=sent_at, last_error=error)

    def retry(self, mail: OutboxMail, *, next_attempt_at: datetime, error: str) -> bool:
        return self._settle(mail, next_attempt_at=next_attempt_at, last_error=error)

    def put_back(
        self, mail: OutboxMail, *, next_attempt_at: datetime, give_up_at: datetime, error: str
    ) -> bool:
        """As `retry`, but the attempt does not count."""
        return self._settle(
            mail,
            attempts=mail.attempts - 1,
            next_attempt_at=next_attempt_at,
            give_up_at=give_up_at,
            last_error=error,
        )

    def by_id(self, mail_id: UUID) -> OutboxMail | None:
        row = self._connection.execute(select(*_COLUMNS).where(outbox.c.id == mail_id)).first()
        return OutboxMail(*row) if row else None

    def newest(self, *, status: str | None, limit: int) -> list[OutboxMail]:
        found = select(*_COLUMNS).order_by(outbox.c.created_at.desc(), outbox.c.id.desc()).limit(limit)
        if status:
            found = found.where(outbox.c.status == status)
        return [OutboxMail(*row) for row in self._connection.execute(found)]

    def count_by_status(self) -> dict[str, int]:
        counted = select(outbox.c.status, func.count()).group_by(outbox.c.status)
        return dict(tuple(row) for row in self._connection.execute(counted))

    def waiting_since(self) -> datetime | None:
        """When the oldest mail that still has to go out was written."""
        oldest = select(func.min(outbox.c.created_at)).where(outbox.c.status == "due")
        return self._connection.execute(oldest).scalar()

    def overdue_since(self, at: datetime) -> datetime | None:
        """Since when the mail lies there that is due longest and that no worker has taken."""
        oldest = select(func.min(outbox.c.next_attempt_at)).where(*_due(at))
        return self._connection.execute(oldest).scalar()

    def revive(self, mail_id: UUID, *, at: datetime, give_up_at: datetime) -> bool:
        """Make a mail that was given up due again. False for any other."""
        statement = (
            update(outbox)
            .where(outbox.c.id == mail_id, outbox.c.status.in_(("dead", "failed")))
            .values(status="due", attempts=0, next_attempt_at=at, give_up_at=give_up_at)
        )
        return self._connection.execute(statement).rowcount == 1

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(outbox).where(*self._done(before))
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        """Sent and dropped mails; what failed stays until an operator has seen it."""
        return len(delete_some(self._connection, outbox, *self._done(before), limit=limit))

    def _done(self, before: datetime) -> tuple[Any, ...]:
        return outbox.c.status.in_(("sent", "dropped")), outbox.c.created_at < before

    def _settle(self, mail: OutboxMail, **values: Any) -> bool:
        statement = (
            update(outbox)
            .where(
                outbox.c.id == mail.id,
                outbox.c.status == "due",
                outbox.c.lease_owner == mail.lease_owner,
                outbox.c.attempts == mail.attempts,
            )
            .values(lease_until=None, lease_owner=None, **values)
        )
        return self._connection.execute(statement).rowcount == 1


def _due(at: datetime) -> tuple[Any, ...]:
    free = or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= at)
    return outbox.c.status == "due", outbox.c.next_attempt_at <= at, free
