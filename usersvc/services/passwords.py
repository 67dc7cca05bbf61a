"""Passwords: forgotten and reset by mail, chosen by invitation, changed with the current one.

Whoever sets a password ends every session: a thief who had one is out too, and the owner is told
by mail. What was verified is checked again where it is used, in the WHERE of the write.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    InvalidCredentials,
    InvalidLink,
    KeepWrites,
    NotActive,
    UserNotFound,
)
from usersvc.repositories.link_tokens import LinkToken
from usersvc.repositories.users import User
from usersvc.security.secrets import digest
from usersvc.services import _events, _limits, _mails, _passwords, _steps, attempts, authorization, requests
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email
from usersvc.services.sessions import TokenPair, mint
from usersvc.webhooks.events import Event

_CHANGE_FAILED = "password.change_failed"


@dataclass(frozen=True)
class ResetLink:
    address: str = field(repr=False)
    expires_at: datetime


@retried
def forgot(core: Core, *, email: str, actor: Actor) -> None:
    """Ask for a reset link; looks nobody up, a job does the rest. Raises InvalidEmail."""
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    with core.write() as tx:
        _limits.require_turn(core, tx, "forgot", actor)
        if _limits.may_ask_for_mail(core, tx, actor):
            _mails.queue_mail(core, tx, "forgot_password", address=address.key)
        tx.audit(actor, "password.forgotten")


def reset(core: Core, *, token: str, new_password: str, actor: Actor) -> None:
    """Spend a reset or invitation link for a new password; every session ends. An invitation activates.

    Raises InvalidLink before anything is hashed; WeakPassword and Overloaded, after which the link
    still works.
    """
    requests.count(core, "reset", actor)
    link, user = _find_link(core, token)
    core.policy.check(new_password, email=user.email, username=user.username)
    password_hash = core.hasher.hash(new_password, client=actor.network)
    _spend(core, link, user, password_hash, actor)


@retried
def _spend(core: Core, link: LinkToken, user: User, password_hash: str, actor: Actor) -> None:
    with core.write() as tx:
        # The account before its links, as everybody holds them.
        tx.users.hold(user.id)
        if not tx.link_tokens.use(link.id, at=tx.now):
            raise InvalidLink
        if user.status == "invited":
            _accept_invitation(tx, user, password_hash, actor)
            return
        if not _passwords.replace(core, tx, user, password_hash, verifies_email=True):
            raise InvalidLink
        # Whoever reads the mailbox is let in, however many others guessed.
        if attempts.open_login(core, tx, user, actor):
            tx.audit(actor, "user.login_unlocked", target=user.id, was_locked=True)
        tx.audit(actor, "password.reset", target=user.id)


@retried
def mail_reset(core: Core, *, user_id: UUID, actor: Actor) -> None:
    """Mail a reset link because an operator says so, whatever the pause; the invited get theirs again.

    Raises UserNotFound, NotActive, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        user = _require_link(tx, user_id)
        if user.status == "invited":
            _mails.queue_invitation_mail(core, tx, user)
        else:
            _mails.queue_reset_mail(core, tx, user)
        tx.audit(actor, "password.reset_mailed", target=user.id)


@retried
def show_reset_link(core: Core, *, user_id: UUID, actor: Actor) -> ResetLink:
    """Danger: whoever has the link has the account. For when mail is down; it is mailed to nobody.

    Raises UserNotFound, NotActive, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        user = _require_link(tx, user_id)
        link_of = _mails.invitation_link if user.status == "invited" else _mails.reset_link
        token = link_of(core, tx, user)
        tx.audit(actor, "password.reset_link_shown", target=user.id)
    return ResetLink(_mails.link_address(core, token), token.expires_at)


def accepts_invitation(core: Core, *, token: str, actor: Actor) -> bool:
    """Whether this link makes an invited account active, else it resets a password; spends nothing.

    Raises InvalidLink where it does not work any more.
    """
    return _find_link(core, token)[1].status == "invited"


def change(core: Core, *, current_password: str, new_password: str, actor: Actor) -> TokenPair:
    """Replace the actor's own password. Every session ends; the tokens of a new one take its place.

    The current password is an attempt as a login is one. Raises WrongPassword, WeakPassword,
    TooManyAttempts, LoginLocked, Overloaded; InvalidCredentials where the password was replaced by
    another way meanwhile.
    """
    attempt, user = attempts.verify_own(core, password=current_password, actor=actor, action=_CHANGE_FAILED)
    # Whatever becomes of the new one, the current one was right.
    attempts.succeed(core, attempt)
    core.policy.check(new_password, email=user.email, username=user.username)
    password_hash = core.hasher.hash(new_password, client=actor.network, turn=attempt.turn)
    return _replace_own(core, attempt, user, password_hash, actor)


@retried
def _replace_own(
    core: Core, attempt: attempts.Attempt, user: User, password_hash: str, actor: Actor
) -> TokenPair:
    with core.write() as tx:
        if not _passwords.replace(core, tx, user, password_hash):
            error = InvalidCredentials("The password was changed meanwhile; log in again.")
            attempts.note_failure(core, tx, attempt, error, action=_CHANGE_FAILED)
            raise KeepWrites(error)
        user = tx.users.by_id(user.id) or user  # The role may have changed since.
        session, rnd = _steps.open_session(core, tx, user, actor)
        tx.audit(replace(actor, session_id=session.id), "password.changed", target=user.id)
        grants = tx.memberships.grants_of(user.id)
    return mint(core, user, session, rnd, grants, at=tx.now)


def _accept_invitation(tx: Tx, user: User, password_hash: str, actor: Actor) -> None:
    if not tx.users.activate(user, email_verified_at=tx.now, password_hash=password_hash, at=tx.now):
        raise InvalidLink
    tx.audit(actor, "user.activated", target=user.id, before="invited")
    _events.tell(tx, Event.ACTIVATED, user.id)


def _require_link(tx: Tx, user_id: UUID) -> User:
    """An account that may be sent a link to choose a password."""
    user = tx.users.hold(user_id)
    if user is None:
        raise UserNotFound
    if user.status not in ("active", "invited"):
        raise NotActive(f"This account is {user.status}, so it has no password to reset.")
    return user


def _find_link(core: Core, token: str) -> tuple[LinkToken, User]:
    with core.read() as tx:
        link = tx.link_tokens.by_digest(digest(token), "reset", "invitation")
        user = tx.users.by_id(link.user_id) if link else None
    if link is None or user is None or not link.lives(core.clock.now()) or not _opens(link, user):
        raise InvalidLink
    return link, user


def _opens(link: LinkToken, user: User) -> bool:
    """An invitation is for whoever never had a password: invited, or activated by an administrator since."""
    if link.purpose == "invitation":
        return user.password_hash is None and user.status in ("invited", "active")
    return user.status == "active"
