"""Deletion of an account: asked for, put off for some days in which logging in calls it off, carried out."""

import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import (
    InvalidCredentials,
    KeepWrites,
    LastAdmin,
    OwnAccount,
)
from usersvc.repositories.users import User
from usersvc.services import _deletion, _erasure, _targets, attempts
from usersvc.services.actor import Actor

_FAILED = "user.deletion_failed"
_AT_ONCE = 200
# As with every purge: others get to write, and nobody waits for this.
_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0


def schedule_own(core: Core, *, password: str, actor: Actor) -> datetime:
    """Delete the actor's account, from this time on; every session ends. Logging in before calls it off.

    The password is an attempt as a login is one. Raises WrongPassword, TooManyAttempts, LoginLocked,
    Overloaded, LastAdmin; InvalidCredentials where the password was replaced meanwhile.
    """
    attempt, user = attempts.verify_own(core, password=password, actor=actor, action=_FAILED)
    attempts.succeed(core, attempt)
    return _schedule_own(core, attempt, user, actor)


@retried
def schedule(core: Core, *, user_id: UUID, actor: Actor) -> datetime:
    """The same for somebody else, by who may; where it has a date already, that stays.

    Raises Forbidden, UserNotFound, OwnAccount, LastAdmin.
    """
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write")
        if user.id == actor.user_id:
            raise OwnAccount("You delete your own account with your password.")
        return _deletion.schedule(core, tx, user, actor)


@retried
def cancel(core: Core, *, user_id: UUID, actor: Actor) -> bool:
    """Keep an account; False where nobody meant to delete it. Raises Forbidden, UserNotFound."""
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write")
        if user.deletion_due_at is None:
            return False
        _deletion.cancel(core, tx, user, actor)
    return True


def count_due(core: Core) -> int:
    with core.read() as tx:
        return tx.erasures.count_due(tx.now)


def carry_out_due(core: Core, *, actor: Actor, progress: Callable[[int], None] = lambda erased: None) -> int:
    """Erase the accounts whose time is over; how many. Each is a transaction of its own.

    An account that is the last active administrator's by now stays, and its deletion is called off.
    """
    erased = 0
    while due := _due(core):
        before = erased
        for user_id in due:
            begun = time.monotonic()
            erased += _carry_out(core, user_id, actor)
            time.sleep(max(_PAUSE_SECONDS, time.monotonic() - begun))
        progress(erased - before)
    return erased


def _due(core: Core) -> list[UUID]:
    with core.read() as tx:
        return tx.erasures.due(tx.now, limit=_AT_ONCE)


@retried
def _carry_out(core: Core, user_id: UUID, actor: Actor) -> bool:
    """Whether it was erased: not where somebody logged in, or was faster, meanwhile."""
    with core.write(wait=_PATIENCE_SECONDS) as tx:
        user = _targets.hold(tx, user_id)
        if user is None or user.deletion_due_at is None or user.deletion_due_at > tx.now:
            return False
        if _targets.is_last_admin(tx, user):
            _deletion.cancel(core, tx, user, actor, outcome=LastAdmin.code)
            return False
        mails = _erasure.erase(core, tx, user, actor)
    _erasure.discard(core, mails)
    return True


@retried
def _schedule_own(core: Core, attempt: attempts.Attempt, verified: User, actor: Actor) -> datetime:
    with core.write() as tx:
        user = _targets.hold(tx, verified.id)
        # What was verified is checked again.
        if user is None or user.status != "active" or user.password_hash != verified.password_hash:
            error = InvalidCredentials("The password was changed meanwhile; log in again.")
            attempts.note_failure(core, tx, attempt, error, action=_FAILED)
            raise KeepWrites(error)
        return _deletion.schedule(core, tx, user, actor)
