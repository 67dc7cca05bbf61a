"""Steps of a change of address. They take the caller's transaction."""

from datetime import timedelta
from uuid import UUID

from usersvc.core import Core, Tx
from usersvc.errors import EmailTaken, KeepWrites
from usersvc.repositories.email_changes import EmailChange
from usersvc.repositories.outbox import OutboxMail
from usersvc.repositories.users import User
from usersvc.security.secrets import new_id
from usersvc.services import _events, _limits, _mails
from usersvc.services.actor import Actor
from usersvc.services.names import Address
from usersvc.webhooks.events import Event

CONFIRM_WITHIN = timedelta(hours=24)
WAY_BACK = timedelta(days=7)
REQUEST = "change_email"
"""The kind of the row in the outbox that a job resolves."""

# An address that a stranger registers in the way of a change is deleted, and may come again in that moment.
_TRIES = 3


def ask(tx: Tx, user: User, address: Address, actor: Actor) -> EmailChange:
    """Write the wish down; an earlier one is void."""
    tx.email_changes.end_pending(user.id, at=tx.now)
    tx.link_tokens.revoke_all(user.id, at=tx.now, purpose="email_change")
    change = EmailChange(
        id=new_id(tx.now),
        user_id=user.id,
        new_email=address.email,
        new_email_key=address.key,
        session_id=actor.session_id if actor.user_id == user.id else None,
        requested_at=tx.now,
        expires_at=tx.now + CONFIRM_WITHIN,
    )
    tx.email_changes.insert(change)
    return change


def resolve(core: Core, tx: Tx, request: OutboxMail, actor: Actor) -> bool:
    """Whether a mail is on its way: to confirm the new address, or to tell whoever has it already.

    The change waits as long where it can never be confirmed: who asked sees it among what is held about him.
    """
    user = tx.users.hold(request.user_id) if request.user_id else None
    change = tx.email_changes.by_id(UUID(request.data["change"]))
    if user is None or user.status != "active" or change is None or not change.is_pending(tx.now):
        return False
    known = tx.users.by_email_key(change.new_email_key)
    if known and known.id != user.id and not is_replaceable(known):
        tx.audit(actor, "user.email_change_mailed", target=user.id, outcome=EmailTaken.code)
        return _tell_owner(core, tx, known)
    if reserving := tx.email_changes.reserving_for_another(change.new_email_key, user.id, at=tx.now):
        tx.audit(actor, "user.email_change_mailed", target=user.id, outcome=EmailTaken.code)
        return mail_way_back(core, tx, reserving)
    if not _limits.may_mail(core, tx, "email_change", change.new_email_key):
        return False
    link = _mails.issue_link(core, tx, user, "email_change", change.expires_at - tx.now, subject_id=change.id)
    _mails.queue_mail(
        core, tx, "email_change", address=change.new_email, user_id=user.id, link_token_id=link.id
    )
    tx.audit(actor, "user.email_change_mailed", target=user.id)
    return True


def move(core: Core, tx: Tx, user: User, change: EmailChange, actor: Actor) -> None:
    """Give the account its new address, and tell the old one, with a way back.

    Other sessions than the one that asked for it end, and so do links. Raises EmailTaken and keeps the
    writes: the change is over.
    """
    if not _take(tx, user, change, actor):
        tx.email_changes.end(change.id, at=tx.now)
        tx.audit(actor, "user.email_change_failed", target=user.id, outcome=EmailTaken.code)
        raise KeepWrites(EmailTaken())
    tx.link_tokens.revoke_all(user.id, at=tx.now)
    if change.session_id:
        ended = tx.sessions.end_all_but(user.id, change.session_id, "address changed", at=tx.now)
    else:
        ended = tx.sessions.end_all(user.id, "address changed", at=tx.now)
    trusted = _is_trusted(user)
    until = tx.now + WAY_BACK if trusted else tx.now
    tx.email_changes.confirm(
        change.id, old_email=user.email, old_email_key=user.email_key, at=tx.now, expires_at=until
    )
    if trusted:
        _mail_old_address(core, tx, user, change)
    else:
        tx.link_tokens.revoke_all(user.id, at=tx.now, purpose="login_revoke")
    tx.audit(actor, "user.email_changed", target=user.id, sessions=ended)
    _events.tell(tx, Event.CHANGED, user.id)


def mail_way_back(core: Core, tx: Tx, change: EmailChange) -> bool:
    """Mail the way back once more, to who asks for something at an address that an account had lately."""
    link = tx.link_tokens.about(change.user_id, "email_revert", change.id, at=tx.now)
    if link is None or not change.old_email or not change.old_email_key:
        return False
    if not _limits.may_mail(core, tx, "email_changed", change.old_email_key, repeats_link=True):
        return False
    _queue_way_back(core, tx, change.old_email, change, link.id)
    return True


def is_replaceable(user: User) -> bool:
    """Only what a stranger made and nobody ever activated may be made over."""
    return user.status == "pending" and user.role == "user" and user.invited_at is None


def _take(tx: Tx, user: User, change: EmailChange, actor: Actor) -> bool:
    """False where the new address is somebody else's by now."""
    for _ in range(_TRIES):
        if tx.users.set_email(user.id, change.new_email, change.new_email_key, at=tx.now):
            return True
        known = tx.users.hold_by_email_key(change.new_email_key)
        if known and not is_replaceable(known):
            return False
        # Who confirmed the address reads its mailbox; who registered it has not shown that.
        if known and tx.users.delete_pending(known.id):
            tx.audit(actor, "user.purged", target=known.id)
            _events.tell(tx, Event.DELETED, known.id)
    return False


def _is_trusted(user: User) -> bool:
    """Not a mailbox that only a stranger named and nobody ever confirmed: it may be anybody's."""
    return user.email_verified_at is not None or user.registered_at is None


def _mail_old_address(core: Core, tx: Tx, user: User, change: EmailChange) -> None:
    link = _mails.issue_link(core, tx, user, "email_revert", WAY_BACK, subject_id=change.id)
    _queue_way_back(core, tx, user.email, change, link.id)


def _queue_way_back(core: Core, tx: Tx, address: str, change: EmailChange, link_id: UUID) -> None:
    data = {"new_address": _shortened(change.new_email)}
    _mails.queue_mail(
        core, tx, "email_changed", address=address, user_id=change.user_id, link_token_id=link_id, data=data
    )


def _tell_owner(core: Core, tx: Tx, known: User) -> bool:
    """As when the address is registered again."""
    if known.status == "active" and _limits.may_mail(core, tx, "already_registered", known.email_key):
        _mails.queue_mail(core, tx, "already_registered", address=known.email, user_id=known.id)
        return True
    return False


def _shortened(email: str) -> str:
    """Enough for who knows it: the old mailbox may be another one's by now."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"
