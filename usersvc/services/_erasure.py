"""Steps of erasing an account that several use cases share. They take the caller's transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from usersvc.core import Core, Tx
from usersvc.mail.transports import FileTransport
from usersvc.repositories.erasures import Erasure
from usersvc.repositories.users import User
from usersvc.services import _events, _limits, _mails, attempts
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event


def hold(tx: Tx, user_id: UUID) -> User | None:
    """The account, kept as it is until the transaction ends; where it is an administrator's, all of those."""
    found = tx.users.by_id(user_id)
    if found and found.role == "admin":
        # Before the one, as everybody holds them.
        tx.users.hold_active_admins()
    return tx.users.hold(user_id)


def is_last_admin(tx: Tx, user: User) -> bool:
    return user.role == "admin" and tx.users.hold_active_admins() == [user.id]


def erase(core: Core, tx: Tx, user: User, actor: Actor, *, first: datetime | None = None) -> list[str]:
    """Put the id alone in the place of an account that is held; the Message-IDs of its mails, for `discard`.

    `first`: when it was erased before it came back. The row goes as a whole, so that nothing can take what
    would be left of it for a person. The owner gets a last mail, which leaves the outbox when it is sent.
    """
    message_ids = tx.erasures.delete_mails(user.id, user.email, user.email_key)
    _limits.forget(core, tx, user.id, user.email_key)
    attempts.forget(core, tx, user)
    tx.erasures.delete_user(user.id)
    if user.activated_at and first is None:
        # The account is not named: whose address it was is not to be found by the id.
        _mails.queue_mail(core, tx, "account_erased", address=user.email)
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
