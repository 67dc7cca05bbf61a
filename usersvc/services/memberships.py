"""Members of groups: added and removed by administrators, and by the managers of a group.

A manager hands out what he holds himself, as a member: he adds and removes ordinary members of his group, by
their ids. He makes no managers, changes no permissions, and learns of nobody's address or status.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import Forbidden, NotActive, SessionEnded, UserNotFound
from usersvc.repositories.groups import Group
from usersvc.repositories.memberships import Member
from usersvc.repositories.users import User
from usersvc.services import _groups, _pages, authorization, groups
from usersvc.services.actor import Actor

MOST = 100
"""How many a page."""

_LIST = "members"


@dataclass(frozen=True)
class MemberView:
    user_id: UUID
    email: str | None
    """None for who may not read accounts; the status, too."""
    username: str | None
    status: str | None
    manager: bool
    added_at: datetime


@dataclass(frozen=True)
class Membership:
    """A group as somebody who is in it sees it."""

    id: UUID
    """Of the group."""
    name: str
    description: str
    permissions: list[str]
    manager: bool


@dataclass(frozen=True)
class Page:
    members: list[MemberView]
    next_cursor: str | None
    """Where the next page begins; None after the last one."""


@retried
def add(core: Core, *, group_id: UUID, user_id: UUID, manager: bool = False, actor: Actor) -> None:
    """Make an account a member, a manager or not; one that is so already stays as it is.

    It has the permissions with its next token. Raises Forbidden, GroupNotFound, UserNotFound, TooManyGroups,
    TokenTooLarge; NotActive for one that is neither active nor invited, which for a manager is UserNotFound.
    """
    with core.write() as tx:
        group, manages_only = _hold(tx, actor, group_id)
        user = tx.users.hold(user_id)
        was_manager = tx.memberships.is_manager(group_id, user_id)
        if manages_only and (manager or was_manager):
            raise Forbidden
        if was_manager is manager:
            return
        _require_possible(tx, actor, user)
        detail: dict[str, Any] = {"group": str(group_id), "name": group.name, "manager": manager}
        if was_manager is None:
            tx.memberships.insert(group_id, user_id, manager=manager, at=tx.now)
            _groups.require_room_for_a_member(tx, user_id)
            tx.audit(actor, "group.member_added", target=user_id, **detail)
        else:
            tx.memberships.set_manager(group_id, user_id, manager)
            tx.audit(actor, "group.member_changed", target=user_id, **detail)


@retried
def remove(core: Core, *, group_id: UUID, user_id: UUID, actor: Actor) -> bool:
    """Take somebody out of a group; False where he was not in it. His next token does not have it any more.

    Raises Forbidden (for a manager also where he would remove a manager, or somebody who holds a permission
    of usersvc that he lacks), GroupNotFound.
    """
    with core.write() as tx:
        group, manages_only = _hold(tx, actor, group_id)
        was_manager = tx.memberships.is_manager(group_id, user_id)
        user = tx.users.by_id(user_id)
        if was_manager is None or user is None:
            return False
        if manages_only and was_manager:
            raise Forbidden
        authorization.require_over(tx, actor, user)
        tx.memberships.delete(group_id, user_id)
        tx.audit(actor, "group.member_removed", target=user_id, group=str(group_id), name=group.name)
    return True


def list_members(
    core: Core, *, group_id: UUID, actor: Actor, limit: int = 50, cursor: str | None = None
) -> Page:
    """One page, at most `MOST` members, the oldest accounts first; managers of the group may, too.

    Raises Forbidden, GroupNotFound, InvalidCursor.
    """
    query = [str(group_id)]
    after = UUID(_pages.place_in(core, _LIST, cursor, query=query)["id"]) if cursor is not None else None
    limit = min(limit, MOST)
    with core.read() as tx:
        groups.require_to_read(tx, actor, group_id)
        _groups.get(tx, group_id)
        reads_accounts = authorization.holds(tx, actor, "users:read")
        found = tx.memberships.page(group_id, after=after, limit=limit + 1)
    shown = [_view(member, whole=reads_accounts) for member in found[:limit]]
    if len(found) == len(shown):
        return Page(shown, None)
    return Page(shown, _pages.cursor_after(core, _LIST, {"id": shown[-1].user_id.hex}, query=query))


def list_own(core: Core, *, actor: Actor) -> list[Membership]:
    """The groups of the actor, by name."""
    if actor.user_id is None:
        raise SessionEnded
    with core.read() as tx:
        return _of(tx, actor.user_id)


def list_of(core: Core, *, user_id: UUID, actor: Actor) -> list[Membership]:
    """The groups of somebody, by name. Raises Forbidden, UserNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read", "groups:read")
        if tx.users.by_id(user_id) is None:
            raise UserNotFound
        return _of(tx, user_id)


def _hold(tx: Tx, actor: Actor, group_id: UUID) -> tuple[Group, bool]:
    """The group, kept as it is until the transaction ends, and whether the actor only manages it."""
    _manages_only(tx, actor, group_id)
    tx.groups.hold()
    # Again, after waiting for who changed something here before.
    manages_only = _manages_only(tx, actor, group_id)
    return _groups.get(tx, group_id), manages_only


def _manages_only(tx: Tx, actor: Actor, group_id: UUID) -> bool:
    """False for who may change every group. Raises Forbidden for who may not change this one."""
    if authorization.holds(tx, actor, "groups:write"):
        return False
    if actor.user_id is None or not tx.memberships.is_manager(group_id, actor.user_id):
        raise Forbidden
    return True


def _require_possible(tx: Tx, actor: Actor, user: User | None) -> None:
    """Raises UserNotFound, NotActive. What a stranger registered, or who was shut out, is given nothing."""
    if user is None:
        raise UserNotFound
    if user.status in ("active", "invited"):
        return
    if not authorization.holds(tx, actor, "users:read"):
        raise UserNotFound
    raise NotActive(f"This account is {user.status}: activate it first.")


def _of(tx: Tx, user_id: UUID) -> list[Membership]:
    found = tx.memberships.of(user_id)
    permissions = tx.groups.permissions_of([group.id for group, _ in found])
    return [
        Membership(group.id, group.name, group.description, permissions[group.id], manager)
        for group, manager in found
    ]


def _view(member: Member, *, whole: bool) -> MemberView:
    return MemberView(
        user_id=member.user_id,
        email=member.email if whole else None,
        username=member.username,
        status=member.status if whole else None,
        manager=member.manager,
        added_at=member.added_at,
    )
