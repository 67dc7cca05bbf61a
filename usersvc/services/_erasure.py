"""Steps of erasing an account that several use cases share. They take the caller's transaction."""

from datetime import datetime
from typing import Any

from usersvc.core import Core, Tx
from usersvc.mail.transports import FileTransport
from usersvc.repositories.erasures import Erasure
from usersvc.repositories.users import User
from usersvc.services import _events, _limits, _mails, attempts
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event


def erase(core: Core, tx: Tx, user: User, actor: Actor, *, first: datetime | None = None) -> list[str]:
    """Put the id alone in the place of an account that is held; the Message-IDs of its mails, for `discard`.

    `first`: when it was erased before it came back. The row goes as a whole, so that nothing can take what
    would be left of it for a person. The owner gets a last mail, which leaves the outbox when it is sent.
    """
    left = [change.old_email for change in tx.holdings.email_changes(user.id, limit=None) if change.old_email]
    message_ids = tx.erasures.delete_mails(user.id, user.email, user.email_key, *left)
    _limits.forget(core, tx, user.id, user.email_key)
    attempts.forget(core, tx, user)
    tx.erasures.delete_user(user.id)
    if user.activated_at and first is None:
        # The account is not named: whose address it was is not to be found by the id.
        data = {"locale": user.locale} if user.locale else {}
        _mails.queue_mail(core, tx, "account_erased", address=user.email, data=data)
    tx.erasures.insert(Erasure(user.id, tx.now))
    tx.erasures.blind_audit(user.id)
    detail: dict[str, Any] = {"first": first} if first else {}
    tx.audit(actor, "user.erased", target=user.id, **detail)
    _events.tell(tx, Event.ERASED, user.id)
    return message_ids


def discard(core: Core, message_ids: list[str]) -> None:
    """Where mails are files, those too. After the commit: what is left the purge deletes in its time."""
    if isinstance(core.transport, FileTransport):
        core.transport.discard(message_ids)
