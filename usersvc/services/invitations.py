"""Invitations: an account made for somebody, who chooses the password by a mailed link."""

from dataclasses import replace

from usersvc.core import Core, Tx, retried
from usersvc.errors import EmailTaken, UsernameTaken
from usersvc.locales import Locale
from usersvc.repositories.users import User
from usersvc.services import _events, _mails, _steps, authorization
from usersvc.services.accounts import Account
from usersvc.services.actor import PERMISSIONS, Actor
from usersvc.services.names import parse_email, parse_username
from usersvc.webhooks.events import Event


@retried
def invite(
    core: Core,
    *,
    email: str,
    role: str = "user",
    username: str | None = None,
    locale: Locale | None = None,
    actor: Actor,
) -> Account:
    """Make an account without a password and mail a link to choose one, which activates it.

    What a stranger registered there and never activated becomes the invited account; password, username,
    language and links of his are void. Raises Forbidden (a role above `user` needs `roles:write` too),
    InvalidEmail, InvalidUsername, UsernameTaken, EmailTaken.
    """
    needed = ["users:write", *PERMISSIONS[role], *(["roles:write"] if role != "user" else [])]
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    username = parse_username(username) if username else None
    with core.write() as tx:
        authorization.require(tx, actor, *needed)
        if username and tx.users.by_username_key(username):
            raise UsernameTaken
        user = replace(
            _steps.new_user(
                tx, address, username=username, locale=locale, password_hash=None, status="invited"
            ),
            role=role,
            invited_at=tx.now,
        )
        is_new = tx.users.insert(user)
        if not is_new:
            user = _invite_pending(tx, user)
        _mails.queue_invitation_mail(core, tx, user)
        tx.audit(actor, "user.invited", target=user.id, role=role)
        _events.tell(tx, Event.REGISTERED if is_new else Event.CHANGED, user.id)
        return Account.of(user)


def _invite_pending(tx: Tx, wanted: User) -> User:
    """Make the pending account under this address the invited one. Raises EmailTaken for any other."""
    known = tx.users.by_email_key(wanted.email_key)
    if known is None or not tx.users.invite(
        known.id, wanted.role, username=wanted.username, locale=wanted.locale, at=tx.now
    ):
        raise EmailTaken
    tx.link_tokens.revoke_all(known.id, at=tx.now)
    return tx.users.by_id(known.id) or known
