"""Mails to be sent, written in the transaction of what causes them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert

from usersvc.db.models import outbox
from usersvc.repositories.leases import Leases


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


# Built once: to build it took longer than to run it.
_INSERT = insert(outbox)


class Outbox(Leases[OutboxMail], table=outbox, row=OutboxMail):
    def insert(self, mail: OutboxMail) -> None:
        self._connection.execute(_INSERT, vars(mail))

    def there_is_mail(self, at: datetime, *, without: Collection[str] = ()) -> bool:
        return self.is_due(at, outbox.c.kind.not_in(without))

    def claim_next(
        self, owner: str, *, at: datetime, lease_until: datetime, without: Collection[str] = ()
    ) -> OutboxMail | None:
        """Take the mail that is due longest, for as long as the lease lasts; nobody else gets it.

        Those of the kinds in `without` are passed over.
        """
        return self.claim(owner, outbox.c.kind.not_in(without), at=at, lease_until=lease_until)

    def delete(self, mail_id: UUID) -> None:
        self._connection.execute(delete(outbox).where(outbox.c.id == mail_id))

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

    def hold_back(self, why: str) -> int:
        """Give up all that is due, so that nothing goes out before an operator says so; how many."""
        return self._hold_back(last_error=why)

    def newest(self, *, status: str | None, limit: int) -> list[OutboxMail]:
        return self._newest(*[outbox.c.status == status] if status else [], limit=limit)
