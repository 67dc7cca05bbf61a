"""Passwords that an operator set, and that their owners replace before they get in."""

from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import InvalidCredentials, KeepWrites, NotActive, UserNotFound, WeakPassword
from usersvc.repositories.users import User
from usersvc.security.passwords import normalise
from usersvc.services import _deletion, _login_alerts, _passwords, _steps, attempts, authorization, login
from usersvc.services.actor import Actor
from usersvc.services.sessions import TokenPair, mint


def set_for(core: Core, *, user_id: UUID, password: str, must_change: bool = True, actor: Actor) -> None:
    """Set somebody's password, who is told; every session ends. With `must_change` it opens no session.

    Raises Forbidden, UserNotFound, WeakPassword; NotActive for any but an active account.
    """
    authorization.require_operator(actor)
    with core.read() as tx:
        user = _require_active(tx.users.by_id(user_id))
    core.policy.check(password, email=user.email, username=user.username)
    _set(core, user_id, core.hasher.hash(password), must_change, actor)


@retried
def _set(core: Core, user_id: UUID, password_hash: str, must_change: bool, actor: Actor) -> None:
    with core.write() as tx:
        user = _require_active(tx.users.hold(user_id))
        _passwords.replace(core, tx, user, password_hash, must_change=must_change)
        if attempts.open_login(core, tx, user, actor):
            tx.audit(actor, "user.login_unlocked", target=user.id, was_locked=True)
        tx.audit(actor, "password.set", target=user.id, must_change=must_change)


def change_and_log_in(
    core: Core, *, email: str, current_password: str, new_password: str, actor: Actor
) -> TokenPair:
    """Replace the password with the current one, without a session before it, and open one.

    An attempt as a login is one, answered as one: raises what `login.log_in` raises, but no
    PasswordChangeRequired; and WeakPassword, only after the right password.
    """
    attempt, user, _ = login.verify(core, email=email, password=current_password, actor=actor)
    attempts.succeed(core, attempt)
    core.policy.check(new_password, email=user.email, username=user.username)
    if normalise(new_password) == normalise(current_password):
        raise WeakPassword("This is the password that you have: choose another one.")
    password_hash = core.hasher.hash(new_password, client=actor.network, turn=attempt.turn)
    return _change(core, attempt, user, password_hash, actor)


@retried
def _change(core: Core, attempt: attempts.Attempt, user: User, password_hash: str, actor: Actor) -> TokenPair:
    with core.write() as tx:
        entered = None
        if _passwords.replace(core, tx, user, password_hash):
            entered = _enter(tx, user, password_hash)
        if entered is None:
            error = InvalidCredentials()
            attempts.note_failure(core, tx, attempt, error, action="password.change_failed")
            raise KeepWrites(error)
        attempts.remember_network(core, tx, entered, actor)
        session, rnd = _steps.open_session(core, tx, entered, actor)
        _login_alerts.notice(core, tx, entered, session, actor, last_login_at=user.last_login_at)
        by = actor.signed_in(user.id, session.id)
        tx.audit(by, "password.changed", target=user.id)
        tx.audit(by, "user.logged_in", target=user.id)
        if entered.deletion_due_at:
            _deletion.cancel(core, tx, entered, by)
        grants = tx.memberships.grants_of(user.id)
    return mint(core, entered, session, rnd, grants, at=tx.now)


def _enter(tx: Tx, user: User, password_hash: str) -> User | None:
    return tx.users.log_in(user.id, verified_hash=password_hash, password_hash=password_hash, at=tx.now)


def _require_active(user: User | None) -> User:
    if user is None:
        raise UserNotFound
    if user.status != "active":
        raise NotActive(f"This account is {user.status}: only an active one has a password to set.")
    return user
