"""An account as its owner, an administrator or a command sees it, and what its owner changes of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import InvalidEmail, SessionEnded, UserNotFound
from usersvc.locales import Locale
from usersvc.profile_schema import JsonObject
from usersvc.repositories.sessions import Bearer
from usersvc.repositories.users import User
from usersvc.services import _events, _limits, _locales, _profiles, authorization
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email, parse_username
from usersvc.webhooks.events import Event


@dataclass(frozen=True)
class Account:
    """A user without what must not leave the services."""

    id: UUID
    email: str
    email_verified: bool
    username: str | None
    locale: str | None
    """Of mails; None: that of the settings."""
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_active(self) -> bool:
        return self.status == "active"

    @classmethod
    def of(cls, user: User | Bearer) -> Self:
        return cls(
            id=user.id,
            email=user.email,
            email_verified=user.email_verified_at is not None,
            username=user.username,
            locale=user.locale,
            role=user.role,
            status=user.status,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
        )


@dataclass(frozen=True)
class FullAccount(Account):
    """With what is kept beyond it: JSON objects, as the text that was stored."""

    profile: str
    attributes: str

    @classmethod
    def keeping(cls, user: User | Bearer, profile: str | None, attributes: str | None) -> Self:
        # Written out once more: every `GET /users/me` comes by here.
        return cls(
            user.id,
            user.email,
            user.email_verified_at is not None,
            user.username,
            user.locale,
            user.role,
            user.status,
            user.created_at,
            user.updated_at,
            user.last_login_at,
            profile or "{}",
            attributes or "{}",
        )


@dataclass(frozen=True)
class WatchedAccount(FullAccount):
    """With what administrators see besides."""

    must_change_password: bool
    deletion_due_at: datetime | None


def find(core: Core, *, name: str, actor: Actor) -> Account:
    """The account with this id, e-mail address or username. Raises UserNotFound, Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        user = _by_name(tx, name, special_domains=core.settings.registration.special_domains)
    if user is None:
        raise UserNotFound(f"There is no user {name}.")
    return Account.of(user)


def _by_name(tx: Tx, name: str, *, special_domains: bool) -> User | None:
    """Usernames have neither the form of an id nor that of an address, so nothing can be meant twice."""
    if "@" in name:
        try:
            return tx.users.by_email_key(parse_email(name, special_domains=special_domains).key)
        except InvalidEmail:
            return None
    try:
        return tx.users.by_id(UUID(name))
    except ValueError:
        return tx.users.by_username_key(name.lower())


@retried
def change(
    core: Core,
    *,
    username: str | None = None,
    locale: Locale | None = None,
    profile: JsonObject | None = None,
    actor: Actor,
) -> FullAccount:
    """Give the actor's account another username or language, put `profile` in the place of his, or all.

    Raises TooManyAttempts, InvalidUsername, InvalidProfile, UsernameTaken; then nothing is changed.
    """
    username = parse_username(username) if username is not None else None
    with core.write() as tx:
        user = tx.users.hold(actor.user_id) if actor.user_id else None
        if user is None or user.status != "active":
            raise SessionEnded
        _limits.require_change(core, tx, user.id)
        if username is not None and username != user.username:
            tx.users.set_username(user.id, username, at=tx.now)
            tx.audit(actor, "user.renamed", target=user.id, before=user.username, after=username)
            _events.tell(tx, Event.CHANGED, user.id)
        if locale is not None:
            _locales.write(tx, user, locale, actor=actor)
        if profile is not None:
            _profiles.write(core, tx, user, "profile", profile, actor=actor)
        return whole(tx, user)


def watched(tx: Tx, user: User) -> WatchedAccount:
    """The account as it stands now, as administrators see it."""
    return WatchedAccount(
        **vars(whole(tx, user)),
        must_change_password=user.must_change_password,
        deletion_due_at=user.deletion_due_at,
    )


def whole(tx: Tx, user: User) -> FullAccount:
    """The account as it stands now, with all that is kept."""
    kept = tx.profiles.of(user.id)
    return FullAccount.keeping(tx.users.by_id(user.id) or user, kept.profile, kept.attributes)
