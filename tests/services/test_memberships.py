"""Members of groups: who adds and removes whom, and what a manager learns by it."""

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import Make
from tests.database import before_next_write
from tests.factories import (
    EMAIL,
    OPERATOR,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    invited,
    pending,
    rewrite_user,
    signed_in,
    together,
    user_row,
)
from tests.groups import a_group, granted, names_of, put_in
from usersvc.core import Core
from usersvc.errors import (
    DomainError,
    Forbidden,
    GroupNotFound,
    InvalidCursor,
    NotActive,
    SessionEnded,
    UserNotFound,
)
from usersvc.services import admin, groups, memberships
from usersvc.services.actor import Actor

MIA, BOB, ROOT = "mia@example.org", "bob@example.org", "root@example.org"


@pytest.fixture
def desk(core: Core) -> groups.GroupView:
    """A group that mia manages; ada and bob are nobody yet."""
    for email in (EMAIL, MIA, BOB):
        active(core, email, username=email.partition("@")[0])
    group = a_group(core, "desk", "orders:read", "orders:write")
    put_in(core, group, MIA, manager=True)
    return group


@pytest.fixture
def mia(core: Core, desk: groups.GroupView) -> Actor:
    return signed_in(core, MIA)


def members_of(core: Core, group: groups.GroupView, actor: Actor = OPERATOR) -> dict[str | None, bool]:
    """By username, and whether each is a manager."""
    page = memberships.list_members(core, group_id=group.id, actor=actor)
    return {member.username: member.manager for member in page.members}


def id_of(core: Core, email: str) -> UUID:
    return user_row(core, email).id


# -- adding and removing


def test_a_member_is_added_once_however_often(core: Core, desk: groups.GroupView, clock: Any) -> None:
    user_id = put_in(core, desk)
    clock.move(minutes=1)
    put_in(core, desk)
    assert members_of(core, desk) == {"ada": False, "mia": True}
    assert groups.show(core, group_id=desk.id, actor=OPERATOR).members == 2
    entries = audit_rows(core, "group.member_added")
    assert [(entry.target_id, entry.detail["manager"]) for entry in entries[1:]] == [(user_id, False)]
    assert entries[1].detail == {"group": str(desk.id), "name": "desk", "manager": False}


def test_a_member_becomes_a_manager_and_an_ordinary_one_again(core: Core, desk: groups.GroupView) -> None:
    put_in(core, desk)
    put_in(core, desk, manager=True)
    assert members_of(core, desk)["ada"]
    put_in(core, desk)
    assert not members_of(core, desk)["ada"]
    assert [e.detail["manager"] for e in audit_rows(core, "group.member_changed")] == [True, False]


def test_who_is_not_in_a_group_cannot_be_taken_out_of_it(core: Core, desk: groups.GroupView) -> None:
    user_id = put_in(core, desk)
    remove = partial(memberships.remove, core, group_id=desk.id, actor=OPERATOR)
    assert [remove(user_id=user_id), remove(user_id=user_id), remove(user_id=uuid4())] == [True, False, False]
    assert len(audit_rows(core, "group.member_removed")) == 1
    for use in (memberships.add, memberships.remove):
        with pytest.raises(GroupNotFound):
            use(core, group_id=uuid4(), user_id=user_id, actor=OPERATOR)


def test_active_and_invited_accounts_become_members_and_no_others(core: Core) -> None:
    group = a_group(core, "desk", "orders:read")
    invited(core, "invited@example.org")
    pending(core, "pending@example.org")
    deactivated(core, "gone@example.org")
    put_in(core, group, "invited@example.org")
    for email, status in (("pending@example.org", "pending"), ("gone@example.org", "deactivated")):
        with pytest.raises(NotActive, match=f"This account is {status}"):
            put_in(core, group, email)
    with pytest.raises(UserNotFound):
        memberships.add(core, group_id=group.id, user_id=uuid4(), actor=OPERATOR)
    assert groups.show(core, group_id=group.id, actor=OPERATOR).members == 1


def test_who_is_shut_out_stays_a_member_and_has_it_all_when_he_is_let_in(core: Core) -> None:
    account = active(core)
    group = a_group(core, "desk", "orders:read")
    put_in(core, group)
    admin.deactivate(core, user_id=account.id, actor=OPERATOR)
    assert names_of(core) == ["desk"]
    put_in(core, group)  # which he is already
    with pytest.raises(NotActive):
        put_in(core, group, manager=True)
    admin.activate(core, user_id=account.id, actor=OPERATOR)
    assert granted(core) == (["desk"], ["orders:read"])


def test_who_is_deleted_is_in_no_group(core: Core) -> None:
    invited(core)
    group = a_group(core)
    user_id = put_in(core, group)
    with core.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM users")
    assert members_of(core, group) == {}
    with pytest.raises(UserNotFound):
        memberships.list_of(core, user_id=user_id, actor=OPERATOR)


# -- managers


def test_a_manager_adds_and_removes_ordinary_members(core: Core, desk: groups.GroupView, mia: Actor) -> None:
    for email in (EMAIL, BOB):
        memberships.add(core, group_id=desk.id, user_id=id_of(core, email), actor=mia)
    assert members_of(core, desk, mia) == {"ada": False, "bob": False, "mia": True}
    assert memberships.remove(core, group_id=desk.id, user_id=id_of(core, BOB), actor=mia)
    assert granted(core) == (["desk"], ["orders:read", "orders:write"])
    assert names_of(core, BOB) == []


def test_a56_a_manager_does_nothing_else(core: Core, desk: groups.GroupView, mia: Actor) -> None:
    other = a_group(core, "other", "stock:write")
    put_in(core, other, MIA)  # where she is an ordinary member
    put_in(core, desk, BOB, manager=True)
    put_in(core, other, EMAIL)
    ada = id_of(core, EMAIL)
    an_admin(core)
    put_in(core, desk, ROOT)
    forbidden = [
        partial(memberships.add, group_id=desk.id, user_id=ada, manager=True),
        partial(memberships.add, group_id=desk.id, user_id=id_of(core, BOB)),
        partial(memberships.add, group_id=desk.id, user_id=id_of(core, MIA)),
        partial(memberships.remove, group_id=desk.id, user_id=id_of(core, BOB)),
        partial(memberships.remove, group_id=desk.id, user_id=id_of(core, MIA)),
        partial(memberships.remove, group_id=desk.id, user_id=id_of(core, ROOT)),
        partial(memberships.add, group_id=other.id, user_id=id_of(core, BOB)),
        partial(memberships.remove, group_id=other.id, user_id=ada),
        partial(memberships.list_members, group_id=other.id),
        partial(memberships.list_of, user_id=ada),
        partial(groups.show, group_id=other.id),
        partial(groups.change, group_id=desk.id, grant=["a:b"]),
        partial(groups.delete, group_id=desk.id),
        partial(memberships.add, group_id=uuid4(), user_id=ada),
        partial(memberships.remove, group_id=uuid4(), user_id=ada),
    ]
    before = members_of(core, desk), members_of(core, other)
    for use in forbidden:
        with pytest.raises(Forbidden):
            use(core, actor=mia)
    assert (members_of(core, desk), members_of(core, other)) == before
    assert groups.show(core, group_id=desk.id, actor=mia).members == 3


def test_an_administrator_may_be_added_by_a_manager_since_it_takes_nothing_from_him(
    core: Core, desk: groups.GroupView, mia: Actor
) -> None:
    an_admin(core)
    memberships.add(core, group_id=desk.id, user_id=id_of(core, ROOT), actor=mia)
    assert names_of(core, ROOT) == ["desk"]


def test_a_manager_learns_neither_addresses_nor_what_became_of_accounts(
    core: Core, desk: groups.GroupView, mia: Actor
) -> None:
    """Whatever an id is: that of nobody, of somebody who waits, or who was shut out."""
    put_in(core, desk)
    invited(core, "invited@example.org")
    pending(core, "pending@example.org")
    deactivated(core, "gone@example.org")
    memberships.add(core, group_id=desk.id, user_id=id_of(core, "invited@example.org"), actor=mia)
    for user_id in (id_of(core, "pending@example.org"), id_of(core, "gone@example.org"), uuid4()):
        with pytest.raises(UserNotFound) as refused:
            memberships.add(core, group_id=desk.id, user_id=user_id, actor=mia)
        assert str(refused.value) == UserNotFound.message
    rewrite_user(core, status="deactivated")
    page = memberships.list_members(core, group_id=desk.id, actor=mia)
    assert [(member.email, member.status) for member in page.members] == [(None, None)] * 3
    an_admin(core)
    root = signed_in(core, ROOT)
    whole = memberships.list_members(core, group_id=desk.id, actor=root).members
    assert [(member.email, member.status) for member in whole] == [
        (EMAIL, "deactivated"),
        (MIA, "active"),
        ("invited@example.org", "invited"),
    ]


def test_who_is_no_manager_any_more_adds_nobody_even_in_that_moment(
    core: Core, desk: groups.GroupView, mia: Actor
) -> None:
    ada = id_of(core, EMAIL)
    taken = "UPDATE group_members SET manager = false WHERE user_id = :mia"
    with before_next_write(core, taken, mia=id_of(core, MIA)), pytest.raises(Forbidden):
        memberships.add(core, group_id=desk.id, user_id=ada, actor=mia)
    put_in(core, desk, MIA, manager=True)
    gone = "DELETE FROM group_members WHERE user_id = :mia"
    with before_next_write(core, gone, mia=id_of(core, MIA)), pytest.raises(Forbidden):
        memberships.add(core, group_id=desk.id, user_id=ada, actor=mia)
    assert members_of(core, desk) == {}
    with core.write() as tx:
        tx.sessions.end_all(id_of(core, MIA), "test", at=tx.now)
    with pytest.raises(SessionEnded):
        memberships.add(core, group_id=desk.id, user_id=ada, actor=mia)


def test_a_manager_who_is_taken_out_as_he_adds_somebody_does_one_after_the_other(make_core: Make) -> None:
    """Two processes: he adds before he goes, or he is refused; and who adds oneself twice is in once."""
    cores = [make_core(), make_core()]
    for email in (EMAIL, MIA):
        active(cores[0], email)
    group = a_group(cores[0], "desk", "orders:read")
    for _ in range(4):
        mia_id = put_in(cores[0], group, MIA, manager=True)
        mia, ada = signed_in(cores[0], MIA), id_of(cores[0], EMAIL)
        added, removed = together(
            partial(memberships.add, cores[0], group_id=group.id, user_id=ada, actor=mia),
            partial(memberships.remove, cores[1], group_id=group.id, user_id=mia_id, actor=OPERATOR),
        )
        assert removed is True
        assert isinstance(added, Forbidden | None)
        assert names_of(cores[0]) == ([] if added else ["desk"])
        both = together(*[partial(put_in, core, group) for core in cores])
        assert not [answer for answer in both if isinstance(answer, DomainError)]
        assert memberships.remove(cores[0], group_id=group.id, user_id=ada, actor=OPERATOR)


# -- listing


def test_members_come_by_account_page_by_page(core: Core) -> None:
    group, other = a_group(core), a_group(core, "other")
    emails = [f"person{number}@example.org" for number in range(5)]
    for email in emails:
        invited(core, email)
    for email in reversed(emails):
        put_in(core, group, email)
    found: list[str | None] = []
    cursor = None
    while True:
        page = memberships.list_members(core, group_id=group.id, limit=2, cursor=cursor, actor=OPERATOR)
        found += [member.email for member in page.members]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        for wrong in (
            partial(memberships.list_members, group_id=other.id, cursor=cursor),
            partial(groups.list_groups, cursor=cursor),
            partial(memberships.list_members, group_id=group.id, cursor=cursor + "A"),
        ):
            with pytest.raises(InvalidCursor):
                wrong(core, actor=OPERATOR)
    assert found == emails


def test_everybody_sees_his_own_groups_and_who_may_those_of_others(
    core: Core, desk: groups.GroupView, mia: Actor
) -> None:
    put_in(core, a_group(core, "archive"), MIA)
    own = memberships.list_own(core, actor=mia)
    assert [(one.name, one.permissions, one.manager) for one in own] == [
        ("archive", [], False),
        ("desk", ["orders:read", "orders:write"], True),
    ]
    assert memberships.list_own(core, actor=signed_in(core)) == []
    assert memberships.list_of(core, user_id=id_of(core, MIA), actor=OPERATOR) == own
    an_admin(core)
    assert memberships.list_of(core, user_id=id_of(core, MIA), actor=signed_in(core, ROOT)) == own
    with pytest.raises(Forbidden):
        memberships.list_of(core, user_id=id_of(core, MIA), actor=mia)
    with pytest.raises(UserNotFound):
        memberships.list_of(core, user_id=uuid4(), actor=OPERATOR)
    with pytest.raises(SessionEnded):
        memberships.list_own(core, actor=STRANGER)
    for use in (memberships.list_members, groups.show):
        with pytest.raises(Forbidden):
            use(core, group_id=desk.id, actor=STRANGER)
