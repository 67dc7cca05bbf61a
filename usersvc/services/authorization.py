"""Who may do what, read from the database in the transaction of what is done.

A face may have looked before; what counts is the look in here, so that a role that was taken away
or a session that ended a moment ago stops what was on its way.
"""

from usersvc.core import Tx
from usersvc.errors import Forbidden, SessionEnded
from usersvc.repositories.users import User
from usersvc.services.actor import PERMISSIONS, Actor

_EVERYTHING = frozenset(permission for held in PERMISSIONS.values() for permission in held)


def require(tx: Tx, actor: Actor, *permissions: str) -> None:
    """Raises Forbidden unless the actor holds all of these now; SessionEnded where his session is over."""
    if not holds(tx, actor, *permissions):
        raise Forbidden


def holds(tx: Tx, actor: Actor, *permissions: str) -> bool:
    """Whether the actor holds all of these now. Raises SessionEnded where his session is over."""
    return frozenset(permissions) <= _held_by(tx, actor)


def require_over(tx: Tx, actor: Actor, target: User) -> None:
    """Raises Forbidden where the target holds a permission that the actor lacks."""
    require(tx, actor, *PERMISSIONS[target.role])


def require_operator(actor: Actor) -> None:
    """For what only a shell on the machine may do, whatever role somebody has."""
    if actor.kind != "operator":
        raise Forbidden


def _held_by(tx: Tx, actor: Actor) -> frozenset[str]:
    """Whoever has a shell on the machine has the database too: the operator holds everything."""
    if actor.kind == "operator":
        return _EVERYTHING
    if actor.session_id is None:
        return frozenset()
    found = tx.sessions.with_user(actor.session_id)
    if found is None:
        raise SessionEnded
    user, session = found
    if user.id != actor.user_id or user.status != "active" or not session.lives(tx.now):
        raise SessionEnded
    return frozenset(PERMISSIONS[user.role])
