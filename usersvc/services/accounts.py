"""An account as its owner, an administrator or a command sees it, and what its owner changes of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import InvalidEmail, SessionEnded, UserNotFound
from usersvc.repositories.sessions import Bearer
from usersvc.repositories.users import User
from usersvc.services import _events, authorization
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
            role=user.role,
            status=user.status,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
        )


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
def rename(core: Core, *, username: str, actor: Actor) -> Account:
    """Give the actor's account another username. Raises InvalidUsername, UsernameTaken."""
    username = parse_username(username)
    with core.write() as tx:
        user = tx.users.hold(actor.user_id) if actor.user_id else None
        if user is None or user.status != "active":
            raise SessionEnded
        if username != user.username:
            tx.users.set_username(user.id, username, at=tx.now)
            tx.audit(actor, "user.renamed", target=user.id, before=user.username, after=username)
            _events.tell(tx, Event.CHANGED, user.id)
        renamed = tx.users.by_id(user.id)
    return Account.of(renamed or user)
