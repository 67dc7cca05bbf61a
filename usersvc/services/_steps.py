"""Steps to accounts and sessions that several use cases share. They take the caller's transaction."""

import secrets
from dataclasses import replace
from datetime import timedelta

from usersvc.core import Core, Tx
from usersvc.errors import NotActive, UsernameTaken
from usersvc.locales import Locale
from usersvc.repositories.sessions import Session
from usersvc.repositories.users import User
from usersvc.security.secrets import digest, new_id
from usersvc.services.actor import Actor
from usersvc.services.names import Address


def new_user(
    tx: Tx,
    address: Address,
    *,
    username: str | None,
    locale: Locale | None = None,
    password_hash: str | None,
    status: str,
) -> User:
    """A user with role `user`, as it stands when it is made now; written nowhere yet."""
    activated_at = tx.now if status == "active" else None
    return User(
        id=new_id(tx.now),
        email=address.email,
        email_key=address.key,
        email_verified_at=None,
        username=username,
        locale=locale,
        role="user",
        status=status,
        password_hash=password_hash,
        invited_at=None,
        registered_at=None,
        activated_at=activated_at,
        deactivated_at=None,
        password_changed_at=activated_at,
        last_login_at=None,
        created_at=tx.now,
        updated_at=tx.now,
    )


def take_over(
    tx: Tx, user: User, *, username: str | None, locale: Locale | None = None, password_hash: str | None
) -> None:
    """Make an account that was never activated active with this password; what it was left with is void.

    Raises UsernameTaken, NotActive for any other account.
    """
    if username and tx.users.by_username_key(username):
        raise UsernameTaken
    tx.link_tokens.revoke_all(user.id, at=tx.now)
    tx.users.rewrite_pending(user, username=username, locale=locale, password_hash=None, at=tx.now)
    wiped = replace(user, password_hash=None)
    if not tx.users.activate(wiped, email_verified_at=None, password_hash=password_hash, at=tx.now):
        raise NotActive


def open_session(core: Core, tx: Tx, user: User, actor: Actor) -> tuple[Session, str]:
    """A new session, and the secret of its refresh tokens; the least recently used beyond the limit end."""
    limits = core.settings.sessions
    surplus = tx.sessions.end_beyond(user.id, limits.max_per_user - 1, at=tx.now)
    if surplus:
        tx.audit(actor, "session.ended_as_surplus", target=user.id, sessions=surplus)
    rnd = secrets.token_urlsafe(32)
    absolute_at = tx.now + timedelta(days=limits.absolute_days)
    session = Session(
        id=new_id(tx.now),
        user_id=user.id,
        seq=1,
        rnd_digest=digest(rnd),
        rotated_at=tx.now,
        created_at=tx.now,
        last_used_at=tx.now,
        expires_at=min(tx.now + timedelta(days=limits.idle_days), absolute_at),
        absolute_at=absolute_at,
        ended_at=None,
        end_reason=None,
        ip=actor.ip,
        user_agent=(actor.user_agent or "")[:256] or None,
    )
    tx.sessions.insert(session)
    return session, rnd
