"""Steps of a deletion that has a date, shared by several use cases. They take the caller's transaction."""

from datetime import datetime, timedelta

from usersvc.core import Core, Tx
from usersvc.errors import LastAdmin
from usersvc.repositories.users import User
from usersvc.services import _events, _mails, _targets
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event


def schedule(core: Core, tx: Tx, user: User, actor: Actor) -> datetime:
    """Give the deletion of an account that is held its date, one it has stays; its sessions and links end.

    Raises LastAdmin.
    """
    if user.deletion_due_at:
        return user.deletion_due_at
    if _targets.is_last_admin(tx, user):
        raise LastAdmin
    due_at = tx.now + timedelta(days=core.settings.retention.deletion_grace_days)
    # Or a thief could have it erased before who had the old address comes for it.
    due_at = max(due_at, tx.email_changes.last_way_back_ends(user.id) or due_at)
    tx.erasures.schedule(user.id, due_at, at=tx.now)
    ended = tx.sessions.end_all(user.id, "deletion scheduled", at=tx.now)
    tx.link_tokens.revoke_all(user.id, at=tx.now)
    tx.email_changes.end_pending(user.id, at=tx.now)
    if user.status == "active":
        data = {"due_at": f"{due_at:%Y-%m-%d %H:%M} UTC"}
        _mails.queue_mail(core, tx, "deletion_scheduled", address=user.email, user_id=user.id, data=data)
    tx.audit(actor, "user.deletion_scheduled", target=user.id, due_at=due_at, sessions=ended)
    _events.tell(tx, Event.DELETION_SCHEDULED, user.id)
    return due_at


def cancel(core: Core, tx: Tx, user: User, actor: Actor, *, outcome: str = "ok") -> None:
    """The account stays."""
    tx.erasures.schedule(user.id, None, at=tx.now)
    if user.status == "active":
        _mails.queue_mail(core, tx, "deletion_cancelled", address=user.email, user_id=user.id)
    tx.audit(actor, "user.deletion_cancelled", target=user.id, outcome=outcome)
    _events.tell(tx, Event.DELETION_CANCELLED, user.id)
