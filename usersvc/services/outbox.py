"""The outbox as an operator sees it: what waits, what was given up, and another try."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from usersvc.core import Core
from usersvc.errors import MailNotFound, MailNotGivenUp
from usersvc.repositories.outbox import OutboxMail
from usersvc.services import authorization
from usersvc.services._mails import GIVE_UP_AFTER
from usersvc.services.actor import Actor


@dataclass(frozen=True)
class MailView:
    """A mail without its content: there is none before it is sent."""

    id: UUID
    kind: str
    address: str
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    """None where it is not due any more."""
    sent_at: datetime | None
    last_error: str | None

    @classmethod
    def of(cls, mail: OutboxMail) -> Self:
        return cls(
            id=mail.id,
            kind=mail.kind,
            address=mail.address,
            status=mail.status,
            attempts=mail.attempts,
            created_at=mail.created_at,
            next_attempt_at=mail.next_attempt_at if mail.status == "due" else None,
            sent_at=mail.sent_at,
            last_error=mail.last_error,
        )


def list_mails(core: Core, *, status: str | None = None, limit: int = 50, actor: Actor) -> list[MailView]:
    """The newest first. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        return [MailView.of(mail) for mail in tx.outbox.newest(status=status, limit=limit)]


def retry(core: Core, *, mail_id: UUID, actor: Actor) -> None:
    """Try a mail again that was given up, for another two days.

    Raises MailNotFound, MailNotGivenUp, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        if not tx.outbox.revive(mail_id, at=tx.now, give_up_at=tx.now + GIVE_UP_AFTER):
            raise MailNotGivenUp if tx.outbox.by_id(mail_id) else MailNotFound
        tx.audit(actor, "mail.retried", mail=str(mail_id))
        tx.wake_worker()
