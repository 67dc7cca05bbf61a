"""Logging in."""

from contextlib import suppress
from typing import NoReturn

from usersvc.core import Core, Tx
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    DomainError,
    InvalidCredentials,
    InvalidEmail,
    KeepWrites,
    Overloaded,
)
from usersvc.repositories.users import User
from usersvc.security.passwords import is_too_large
from usersvc.services import _steps
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email
from usersvc.services.sessions import TokenPair, mint


def log_in(core: Core, *, email: str, password: str, actor: Actor) -> TokenPair:
    """Open a session. One bcrypt, whether the address is known or not.

    Raises InvalidCredentials, the same for an unknown address, a wrong password and an account that
    is not activated; AccountDeactivated, only after the right password; Overloaded.
    """
    user = _find(core, email)
    known_hash = user.password_hash if user else None
    matches = not is_too_large(password) and core.hasher.verify(password, known_hash, client=actor.network)
    if user is None or known_hash is None or not matches:
        _refuse(core, user, InvalidCredentials(), actor)
    if user.status != "active":
        _refuse(core, user, _not_active(core, user), actor)
    password_hash = known_hash
    if core.hasher.needs_rehash(known_hash):
        # A right password is not refused because there is no time to store it better.
        with suppress(Overloaded):
            password_hash = core.hasher.hash(password, client=actor.network)
    with core.write() as tx:
        # What was verified is checked again: a reset in between makes this login one with a wrong password.
        if not tx.users.log_in(user.id, verified_hash=known_hash, password_hash=password_hash, at=tx.now):
            _note_failure(tx, user, InvalidCredentials(), actor)
            raise KeepWrites(InvalidCredentials())
        user = tx.users.by_id(user.id) or user  # The role may have changed since.
        session, rnd = _steps.open_session(core, tx, user, actor)
        tx.audit(actor.signed_in(user.id, session.id), "user.logged_in", target=user.id)
    return mint(core, user, session, rnd, at=tx.now)


def _find(core: Core, email: str) -> User | None:
    try:
        address = parse_email(email, special_domains=core.settings.registration.special_domains)
    except InvalidEmail:
        return None
    with core.read() as tx:
        return tx.users.by_email_key(address.key)


def _not_active(core: Core, user: User) -> DomainError:
    if user.status == "deactivated":
        return AccountDeactivated()
    return AccountNotActivated() if core.settings.registration.tell_pending else InvalidCredentials()


def _refuse(core: Core, user: User | None, error: DomainError, actor: Actor) -> NoReturn:
    """Write the failure down, then raise it."""
    with core.write() as tx:
        _note_failure(tx, user, error, actor)
    raise error


def _note_failure(tx: Tx, user: User | None, error: DomainError, actor: Actor) -> None:
    tx.audit(actor, "user.login_failed", target=user.id if user else None, outcome=error.code)
