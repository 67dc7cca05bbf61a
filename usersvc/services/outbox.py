"""Mail as an operator sees it: what waits, what was given up, another try, and a mail to test with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from jinja2 import TemplateError

from usersvc import logs
from usersvc.core import Core, retried
from usersvc.errors import MailNotFound, MailNotGivenUp, MailNotSent
from usersvc.mail.errors import LoginRefused, MailRefused
from usersvc.repositories.outbox import OutboxMail
from usersvc.security.secrets import new_id
from usersvc.services import authorization
from usersvc.services._leases import GIVE_UP_AFTER
from usersvc.services._mails import message_id
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email


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


@retried
def retry(core: Core, *, mail_id: UUID, actor: Actor) -> MailView:
    """Try a mail again that was given up, for another two days.

    Raises MailNotFound, MailNotGivenUp, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        revived = tx.outbox.revive(mail_id, at=tx.now, give_up_at=tx.now + GIVE_UP_AFTER)
        mail = tx.outbox.by_id(mail_id)
        if mail is None:
            raise MailNotFound
        if not revived:
            raise MailNotGivenUp
        tx.audit(actor, "mail.retried", mail=str(mail_id))
        tx.wake_worker()
    return MailView.of(mail)


def send_test(core: Core, *, address: str, actor: Actor) -> str:
    """Send a mail to this address now, past the outbox; where it went.

    Raises InvalidEmail, Forbidden, and MailNotSent with what the mail server said.
    """
    authorization.require_operator(actor)
    to = parse_email(address, special_domains=core.settings.registration.special_domains).email
    whom = logs.mask_text(to)
    try:
        where = _send_now(core, to)
    except (OSError, MailRefused, LoginRefused, TemplateError, ValueError) as error:
        reason = logs.mask_text(str(error))[:500]
        _tell_tested(core, actor, outcome=MailNotSent.code, to=whom, error=reason)
        raise MailNotSent(f"The mail could not be sent: {reason}") from None
    _tell_tested(core, actor, to=whom, via=where)
    return where


@retried
def _tell_tested(core: Core, actor: Actor, *, outcome: str = "ok", **detail: Any) -> None:
    with core.write() as tx:
        tx.audit(actor, "mail.tested", outcome=outcome, **detail)


def _send_now(core: Core, to: str) -> str:
    now = core.clock.now()
    data = {"host": urlsplit(core.settings.public_url).netloc}
    own_id = message_id(core, "test", new_id(now))
    locale = core.settings.mail.default_locale
    message = core.messages.render("test", data, locale=locale, to=to, message_id=own_id, at=now)
    return core.transport.send(message)
