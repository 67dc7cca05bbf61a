"""Accounts that somebody acts on, kept as they are until the transaction ends."""

from uuid import UUID

from usersvc.core import Tx
from usersvc.errors import NoLongerMatches, UserNotFound
from usersvc.repositories.directory import Filters
from usersvc.repositories.users import User
from usersvc.services import authorization
from usersvc.services.actor import Actor


def hold(tx: Tx, user_id: UUID) -> User | None:
    """The account; where it is an administrator's, all of those before it, as everybody holds them."""
    found = tx.users.by_id(user_id)
    if found and found.role == "admin":
        # So that no two transactions wait for each other.
        tx.users.hold_active_admins()
    return tx.users.hold(user_id)


def hold_for(
    tx: Tx, actor: Actor, user_id: UUID, permission: str, *, matching: Filters | None = None
) -> User:
    """An account that the actor may do this to.

    Raises Forbidden, UserNotFound; NoLongerMatches where it has to be one of `matching` and is not.
    """
    authorization.require(tx, actor, permission)
    user = hold(tx, user_id)
    if user is None:
        raise UserNotFound
    if matching and not tx.directory.matches(user.id, matching):
        raise NoLongerMatches
    # Again, after waiting for who changed something here before.
    authorization.require(tx, actor, permission)
    authorization.require_over(tx, actor, user)
    return user


def is_last_admin(tx: Tx, user: User) -> bool:
    """Whether it is the only active administrator. Nobody can be let in after him."""
    return user.role == "admin" and tx.users.hold_active_admins() == [user.id]
