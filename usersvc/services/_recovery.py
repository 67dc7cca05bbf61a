"""Steps that give an account back to who reads its mailbox. They take the caller's transaction."""

from usersvc.core import Core, Tx
from usersvc.errors import EmailTaken
from usersvc.repositories.email_changes import EmailChange
from usersvc.repositories.users import User
from usersvc.services import _deletion, _mails
from usersvc.services.actor import Actor


def restore_address(tx: Tx, user: User, change: EmailChange) -> User:
    """The account with the address from before this change; whatever it was changed to later is over.

    Earlier ways back stay: whoever had the account before may still come for it. Raises EmailTaken, which
    only what passed by the reservation can cause.
    """
    before, key = change.old_email or user.email, change.old_email_key or user.email_key
    if not tx.users.set_email(user.id, before, key, at=tx.now):
        raise EmailTaken
    for change_id in (change.id, *tx.email_changes.later(change, at=tx.now)):
        tx.email_changes.end(change_id, at=tx.now)
        tx.link_tokens.revoke_about(user.id, change_id, at=tx.now)
    return tx.users.by_id(user.id) or user


def shut_out(core: Core, tx: Tx, user: User, reason: str, actor: Actor) -> int:
    """Void the password, end every session and link, mail a reset link; how many sessions that were.

    A deletion that has a date is called off: whoever asked for it had the account, too.
    """
    tx.users.void_password(user.id, at=tx.now)
    ended = tx.sessions.end_all(user.id, reason, at=tx.now)
    tx.link_tokens.revoke_all(user.id, at=tx.now)
    # Some may be in the mailbox of whoever had the account meanwhile.
    tx.link_tokens.revoke_all(user.id, at=tx.now, purpose="login_revoke")
    tx.email_changes.end_pending(user.id, at=tx.now)
    # A thief's are among them: his next login is told, and finds no open door where the account is locked.
    tx.known_devices.forget(user.id)
    tx.known_networks.forget(user.id)
    if user.deletion_due_at:
        _deletion.cancel(core, tx, user, actor)
    _mails.queue_reset_mail(core, tx, user)
    return ended
