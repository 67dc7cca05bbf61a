"""Groups: permissions of the relying services' own, given to many accounts at once.

They reach those services in the access token. What usersvc itself lets somebody do is decided by the role
alone, and looks at no group. Groups are changed one at a time, so that the bounds hold.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import Forbidden, GroupNotFound, InvalidGroup
from usersvc.repositories.groups import Group
from usersvc.security.secrets import new_id
from usersvc.services import _groups, _pages, authorization
from usersvc.services.actor import Actor
from usersvc.services.permissions import permission_name

MOST = 100
"""How many a page."""
LONGEST_DESCRIPTION = 200

_LIST = "groups"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)


@dataclass(frozen=True)
class GroupView:
    """A group as administrators see it."""

    id: UUID
    name: str
    description: str
    permissions: list[str]
    members: int
    """How many."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Page:
    groups: list[GroupView]
    next_cursor: str | None
    """Where the next page begins; None after the last one."""


@retried
def create(
    core: Core, *, name: str, description: str = "", permissions: Collection[str] = (), actor: Actor
) -> GroupView:
    """Make a group without members.

    Raises Forbidden, InvalidGroup, InvalidPermission, ReservedPermission, TooManyPermissions, GroupNameTaken,
    TooManyGroups.
    """
    require_fit(name, description)
    wanted = _names(permissions)
    with core.write() as tx:
        _hold_all(tx, actor)
        _groups.require_room_for_a_group(tx)
        group = Group(new_id(tx.now), name, description, created_at=tx.now, updated_at=tx.now)
        tx.groups.insert(group)
        tx.groups.grant(group.id, wanted)
        tx.audit(actor, "group.created", group=str(group.id), name=name, permissions=wanted)
        return _view(tx, group)


@retried
def change(
    core: Core,
    *,
    group_id: UUID,
    name: str | None = None,
    description: str | None = None,
    permissions: Collection[str] | None = None,
    grant: Collection[str] = (),
    withdraw: Collection[str] = (),
    actor: Actor,
) -> GroupView:
    """Rename a group, describe it otherwise, or give its members other permissions; None leaves it as it is.

    `permissions` takes the place of all; `grant` and `withdraw` change them from what they are then. Members
    have them with their next token. Raises what `create` raises, GroupNotFound, and TokenTooLarge where the
    token of a member would get too large; nothing is changed then.
    """
    require_fit(name, description)
    replaced, more = None if permissions is None else _names(permissions), _names(grant)
    with core.write() as tx:
        _hold_all(tx, actor)
        group = _groups.get(tx, group_id)
        before = set(tx.groups.permissions_of([group_id])[group_id])
        after = ((before if replaced is None else set(replaced)) | set(more)) - set(withdraw)
        changed = _described(group, name, description)
        if (changed, after) == (group, before):
            return _view(tx, group)
        tx.groups.update(group_id, name=changed.name, description=changed.description, updated_at=tx.now)
        _replace_permissions(tx, group_id, before, after)
        _groups.require_small_tokens(tx, group_id)
        tx.audit(
            actor,
            "group.changed",
            group=str(group_id),
            name=changed.name,
            before=group.name,
            granted=sorted(after - before),
            withdrawn=sorted(before - after),
        )
        return _view(tx, _groups.get(tx, group_id))


@retried
def delete(core: Core, *, group_id: UUID, actor: Actor) -> int:
    """Delete a group for good; how many members lose its permissions. Raises Forbidden, GroupNotFound."""
    with core.write() as tx:
        _hold_all(tx, actor)
        group = _groups.get(tx, group_id)
        members = tx.memberships.count([group_id])[group_id]
        tx.groups.delete(group_id)
        tx.audit(actor, "group.deleted", group=str(group_id), name=group.name, members=members)
    return members


def show(core: Core, *, group_id: UUID, actor: Actor) -> GroupView:
    """Its managers may, too. Raises Forbidden, GroupNotFound."""
    with core.read() as tx:
        require_to_read(tx, actor, group_id)
        return _view(tx, _groups.get(tx, group_id))


def find(core: Core, *, name: str, actor: Actor) -> GroupView:
    """The group with this name. Raises Forbidden, GroupNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "groups:read")
        group = tx.groups.by_name(name)
        if group is None:
            raise GroupNotFound(f"There is no group {name}.")
        return _view(tx, group)


def list_groups(core: Core, *, actor: Actor, limit: int = 50, cursor: str | None = None) -> Page:
    """One page by name, at most `MOST` groups. Raises Forbidden, InvalidCursor."""
    after = _pages.place_in(core, _LIST, cursor, query=[])["name"] if cursor is not None else None
    limit = min(limit, MOST)
    with core.read() as tx:
        authorization.require(tx, actor, "groups:read")
        found = tx.groups.page(after=after, limit=limit + 1)
        shown = _views(tx, found[:limit])
    if len(found) == len(shown):
        return Page(shown, None)
    return Page(shown, _pages.cursor_after(core, _LIST, {"name": shown[-1].name}, query=[]))


def require_to_read(tx: Tx, actor: Actor, group_id: UUID) -> None:
    """Raises Forbidden unless the actor may read all groups, or manages this one."""
    if authorization.holds(tx, actor, "groups:read"):
        return
    if actor.user_id is None or not tx.memberships.is_manager(group_id, actor.user_id):
        raise Forbidden


def _hold_all(tx: Tx, actor: Actor) -> None:
    authorization.require(tx, actor, "groups:write")
    tx.groups.hold()
    # Again, after waiting for who changed something here before.
    authorization.require(tx, actor, "groups:write")


def require_fit(name: str | None, description: str | None) -> None:
    """None is not looked at. Raises InvalidGroup."""
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidGroup
    if description is not None and len(description) > LONGEST_DESCRIPTION:
        raise InvalidGroup


def _names(permissions: Iterable[str]) -> list[str]:
    wanted = sorted({permission_name(permission) for permission in permissions})
    _groups.require_few(wanted)
    return wanted


def _described(group: Group, name: str | None, description: str | None) -> Group:
    return replace(
        group,
        name=group.name if name is None else name,
        description=group.description if description is None else description,
    )


def _replace_permissions(tx: Tx, group_id: UUID, before: set[str], after: set[str]) -> None:
    _groups.require_few(after)
    tx.groups.grant(group_id, sorted(after - before))
    tx.groups.withdraw(group_id, before - after)


def _view(tx: Tx, group: Group) -> GroupView:
    [view] = _views(tx, [group])
    return view


def _views(tx: Tx, found: list[Group]) -> list[GroupView]:
    ids = [group.id for group in found]
    permissions, members = tx.groups.permissions_of(ids), tx.memberships.count(ids)
    return [
        GroupView(
            id=group.id,
            name=group.name,
            description=group.description,
            permissions=permissions[group.id],
            members=members[group.id],
            created_at=group.created_at,
            updated_at=group.updated_at,
        )
        for group in found
    ]
