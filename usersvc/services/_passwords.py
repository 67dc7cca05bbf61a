"""Steps to passwords that several use cases share. They take the caller's transaction."""

from usersvc.core import Core, Tx
from usersvc.repositories.users import User
from usersvc.services import _mails


def replace(
    core: Core,
    tx: Tx,
    user: User,
    password_hash: str,
    *,
    verifies_email: bool = False,
    must_change: bool = False,
) -> bool:
    """Set the password, end what the old one had opened, tell the owner. False: it was replaced meanwhile."""
    written = tx.users.set_password(
        user, password_hash, verifies_email=verifies_email, must_change=must_change, at=tx.now
    )
    if not written:
        return False
    shut(tx, user)
    if user.password_hash:
        _mails.queue_mail(core, tx, "password_changed", address=user.email, user_id=user.id)
    return True


def shut(tx: Tx, user: User) -> None:
    """End what whoever had the old password had opened, a change of address that is not mailed yet too."""
    tx.link_tokens.revoke_all(user.id, at=tx.now)
    tx.email_changes.end_pending(user.id, at=tx.now)
    tx.sessions.end_all(user.id, "password replaced", at=tx.now)
