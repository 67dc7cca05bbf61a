"""Logging in."""

from contextlib import suppress
from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    DomainError,
    InvalidCredentials,
    InvalidEmail,
    KeepWrites,
    Overloaded,
    UserNotFound,
)
from usersvc.repositories.users import User
from usersvc.services import _deletion, _steps, attempts, authorization
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email
from usersvc.services.sessions import TokenPair, mint

_FAILED = "user.login_failed"


def log_in(core: Core, *, email: str, password: str, actor: Actor) -> TokenPair:
    """Open a session. One bcrypt, whether the address is known or not.

    Raises InvalidCredentials, the same for an unknown address, a wrong password and an account that
    is not activated; AccountDeactivated, only after the right password; TooManyAttempts, LoginLocked,
    Overloaded.
    """
    attempt = attempts.admit(core, email_key=_key_of(core, email), actor=actor)
    matches = attempts.verify(core, attempt, password=password)
    user = attempt.user
    known_hash = user.password_hash if user else None
    if user is None or known_hash is None or not matches:
        attempts.fail(core, attempt, InvalidCredentials(), action=_FAILED)
    if user.status != "active":
        attempts.fail(core, attempt, _not_active(core, user), action=_FAILED)
    password_hash = known_hash
    if core.hasher.needs_rehash(known_hash):
        # A right password is not refused because there is no time to store it better.
        with suppress(Overloaded):
            password_hash = core.hasher.hash(password, client=actor.network, turn=attempt.turn)
    return _enter(core, attempt, user, known_hash=known_hash, password_hash=password_hash, actor=actor)


@retried
def _enter(
    core: Core, attempt: attempts.Attempt, user: User, *, known_hash: str, password_hash: str, actor: Actor
) -> TokenPair:
    """Open the session of a login whose password was verified against `known_hash`."""
    with core.write() as tx:
        # What was verified is checked again: a reset in between makes this login one with a wrong password.
        # Its role may have changed since, too.
        entered = tx.users.log_in(user.id, verified_hash=known_hash, password_hash=password_hash, at=tx.now)
        if entered is None:
            attempts.note_failure(core, tx, attempt, InvalidCredentials(), action=_FAILED)
            raise KeepWrites(InvalidCredentials())
        attempts.settle_success(core, tx, attempt)
        attempts.remember_network(core, tx, entered, actor)
        session, rnd = _steps.open_session(core, tx, entered, actor)
        by = actor.signed_in(user.id, session.id)
        tx.audit(by, "user.logged_in", target=user.id)
        if entered.deletion_due_at:
            _deletion.cancel(core, tx, entered, by)
        grants = tx.memberships.grants_of(user.id)
    return mint(core, entered, session, rnd, grants, at=tx.now)


@retried
def unlock(core: Core, *, user_id: UUID, actor: Actor) -> bool:
    """Open a login that is locked; False where it was not, and nothing was done.

    The pause of a network is not ended. Raises Forbidden, UserNotFound.
    """
    with core.write() as tx:
        authorization.require(tx, actor, "users:write")
        user = tx.users.by_id(user_id)
        if user is None:
            raise UserNotFound
        if not attempts.is_locked(core, tx, user):
            return False
        attempts.open_login(core, tx, user, actor)
        tx.audit(actor, "user.login_unlocked", target=user.id, was_locked=True)
    return True


def is_locked(core: Core, *, user_id: UUID, actor: Actor) -> bool:
    """Whether a login is locked after too many failures. Raises Forbidden, UserNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        user = tx.users.by_id(user_id)
        if user is None:
            raise UserNotFound
        return core.settings.throttle.enabled and attempts.is_locked(core, tx, user)


def _key_of(core: Core, email: str) -> str:
    """What is no address is limited as one that nobody has."""
    try:
        return parse_email(email, special_domains=core.settings.registration.special_domains).key
    except InvalidEmail:
        return ascii(email.strip().lower())


def _not_active(core: Core, user: User) -> DomainError:
    if user.status == "deactivated":
        return AccountDeactivated()
    return AccountNotActivated() if core.settings.registration.tell_pending else InvalidCredentials()
