"""Groups and their members."""

from collections.abc import Iterator

from tests.audited.case import ROOT, World, told
from tests.factories import (
    OPERATOR,
    active,
    an_admin,
    signed_in,
)
from tests.groups import a_group, put_in
from usersvc.services import (
    groups,
    memberships,
)


@told(groups.create, "group.created | user root |  | ok")
def create_a_group(w: World) -> Iterator[None]:
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    groups.create(w.core, name="desk", permissions=["orders:read"], actor=by)


@told(groups.change, "group.changed | operator tester |  | ok")
def change_a_group(w: World) -> Iterator[None]:
    group = a_group(w.core, "desk", "orders:read")
    yield
    groups.change(w.core, group_id=group.id, name="counter", grant=["orders:write"], actor=OPERATOR)


@told(groups.delete, "group.deleted | operator tester |  | ok")
def delete_a_group(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    put_in(w.core, group)
    yield
    groups.delete(w.core, group_id=group.id, actor=OPERATOR)


@told(memberships.add, "group.member_added | user mia | ada | ok")
def add_a_member_as_a_manager(w: World) -> Iterator[None]:
    account, group = active(w.core), a_group(w.core)
    active(w.core, "mia@example.org")
    put_in(w.core, group, "mia@example.org", manager=True)
    by = signed_in(w.core, "mia@example.org")
    yield
    memberships.add(w.core, group_id=group.id, user_id=account.id, actor=by)


@told(memberships.add, "group.member_changed | operator tester | ada | ok")
def make_a_member_a_manager(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    user_id = put_in(w.core, group)
    yield
    memberships.add(w.core, group_id=group.id, user_id=user_id, manager=True, actor=OPERATOR)


@told(memberships.remove, "group.member_removed | operator tester | ada | ok")
def remove_a_member(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    user_id = put_in(w.core, group)
    yield
    memberships.remove(w.core, group_id=group.id, user_id=user_id, actor=OPERATOR)
