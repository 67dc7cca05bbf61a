"""Groups: made, changed, deleted and listed; what comes of them in a token, and the bounds."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    logged_in,
    signed_in,
    together,
    user_row,
)
from tests.groups import a_group, claims_of, granted, names_of, put_in, words
from usersvc.core import Core
from usersvc.errors import (
    DomainError,
    Forbidden,
    GroupNameTaken,
    GroupNotFound,
    InvalidCursor,
    InvalidGroup,
    InvalidPermission,
    ReservedPermission,
    TokenTooLarge,
    TooManyGroups,
    TooManyPermissions,
)
from usersvc.services import _groups, admin, groups, memberships, passwords, sessions
from usersvc.services.actor import PERMISSIONS

BOB = "bob@example.org"


def change(core: Core, group: groups.GroupView, **what: Any) -> groups.GroupView:
    return groups.change(core, group_id=group.id, **what, actor=OPERATOR)


# -- making and changing


def test_a_group_is_made_with_its_permissions_sorted_and_once_each(core: Core) -> None:
    made = groups.create(
        core,
        name="order-desk",
        description="By telephone",
        permissions=["orders:write", "orders:read", "orders:write"],
        actor=OPERATOR,
    )
    assert (made.name, made.description, made.members) == ("order-desk", "By telephone", 0)
    assert made.permissions == ["orders:read", "orders:write"]
    assert groups.show(core, group_id=made.id, actor=OPERATOR) == made
    assert groups.find(core, name="order-desk", actor=OPERATOR) == made
    [entry] = audit_rows(core, "group.created")
    assert entry.detail == {
        "group": str(made.id),
        "name": "order-desk",
        "permissions": ["orders:read", "orders:write"],
    }


REFUSED: list[tuple[dict[str, Any], type[DomainError]]] = [
    ({"name": ""}, InvalidGroup),
    ({"name": "Desk"}, InvalidGroup),
    ({"name": "de sk"}, InvalidGroup),
    ({"name": "-desk"}, InvalidGroup),
    ({"name": "desk\n"}, InvalidGroup),
    ({"name": "d\u0435sk"}, InvalidGroup),
    ({"name": "x" * 33}, InvalidGroup),
    ({"description": "x" * 201}, InvalidGroup),
    ({"permissions": ["orders"]}, InvalidPermission),
    ({"permissions": ["orders:read", "users:write"]}, ReservedPermission),
    ({"permissions": ["content:manage"]}, ReservedPermission),
    ({"permissions": words(101)}, TooManyPermissions),
    ({"name": "taken"}, GroupNameTaken),
]


def test_what_cannot_be_a_group_is_neither_made_nor_made_of_another(core: Core) -> None:
    a_group(core, "taken")
    group = a_group(core, "desk", "orders:read")
    before = groups.list_groups(core, actor=OPERATOR)
    for wrong, error in REFUSED:
        with pytest.raises(error):
            groups.create(core, **{"name": "new", **wrong}, actor=OPERATOR)
        with pytest.raises(error):
            change(core, group, **{"name": "new", "description": "new", **wrong})
    assert groups.list_groups(core, actor=OPERATOR) == before


def test_a_change_names_what_is_other_and_leaves_the_rest(core: Core, clock: Any) -> None:
    group = a_group(core, "desk", "orders:read", "orders:write")
    clock.move(minutes=1)
    renamed = change(core, group, name="counter")
    assert (renamed.name, renamed.permissions) == ("counter", group.permissions)
    assert (renamed.created_at, renamed.updated_at) == (group.created_at, clock.now())
    described = change(core, group, description="In the shop")
    assert (described.name, described.description) == ("counter", "In the shop")
    granted = change(core, group, grant=["stock:read", "orders:read"], withdraw=["orders:write", "a:b"])
    assert granted.permissions == ["orders:read", "stock:read"]
    assert change(core, group, permissions=["stock:write"]).permissions == ["stock:write"]
    assert change(core, group, permissions=[], description="").permissions == []
    told = [(e.detail["before"], e.detail["name"]) for e in audit_rows(core, "group.changed")]
    assert told == [("desk", "counter"), *[("counter", "counter")] * 4]
    third = audit_rows(core, "group.changed")[2].detail
    assert (third["granted"], third["withdrawn"]) == (["stock:read"], ["orders:write"])


def test_what_changes_nothing_is_told_nowhere(core: Core, clock: Any) -> None:
    group = a_group(core, "desk", "orders:read")
    clock.move(minutes=1)
    assert change(core, group, name="desk", permissions=["orders:read"]) == group
    assert change(core, group, grant=["orders:read"], withdraw=["a:b"]) == group
    assert audit_rows(core, "group.changed") == []


def test_a_deleted_group_takes_its_permissions_and_memberships_along(core: Core) -> None:
    active(core)
    group = a_group(core, "desk", "orders:read")
    put_in(core, group)
    assert groups.delete(core, group_id=group.id, actor=OPERATOR) == 1
    assert names_of(core) == []
    assert granted(core) == ([], [])
    for gone in (groups.delete, groups.show, groups.change):
        with pytest.raises(GroupNotFound):
            gone(core, group_id=group.id, actor=OPERATOR)
    # Its name is free, and whoever was in the old one is not in the new one.
    assert a_group(core, "desk", "orders:read").members == 0
    assert granted(core) == ([], [])


def test_groups_come_by_name_page_by_page(core: Core) -> None:
    names = ["b", "a.1", "a-1", "a", "a_1", "0"]
    for name in names:
        a_group(core, name)
    found, cursor = [], None
    while True:
        page = groups.list_groups(core, limit=4, cursor=cursor, actor=OPERATOR)
        found += [group.name for group in page.groups]
        cursor = page.next_cursor
        if cursor is None:
            break
        with pytest.raises(InvalidCursor):
            memberships.list_members(core, group_id=page.groups[0].id, cursor=cursor, actor=OPERATOR)
    assert found == sorted(names)  # byte by byte, on every database


@pytest.mark.parametrize("email", [EMAIL, "mod@example.org"])
def test_only_who_may_sees_and_changes_groups(core: Core, email: str) -> None:
    group = a_group(core)
    account = active(core, email)
    if email != EMAIL:
        admin.set_role(core, user_id=account.id, role="moderator", actor=OPERATOR)
    by = signed_in(core, email)
    for use, more in (
        (groups.create, {"name": "mine"}),
        (groups.list_groups, {}),
        (groups.find, {"name": "desk"}),
        (groups.show, {"group_id": group.id}),
        (groups.change, {"group_id": group.id, "name": "mine"}),
        (groups.delete, {"group_id": group.id}),
        # Whether there is one is not told either.
        (groups.show, {"group_id": uuid4()}),
        (groups.delete, {"group_id": uuid4()}),
    ):
        with pytest.raises(Forbidden):
            use(core, **more, actor=by)
    an_admin(core)
    root = signed_in(core, "root@example.org")
    assert groups.change(core, group_id=group.id, grant=["a:b"], actor=root).permissions == ["a:b"]


# -- in the token


def test_a_token_has_the_permissions_of_the_role_and_of_all_groups_sorted_and_once_each(core: Core) -> None:
    an_admin(core, EMAIL)
    put_in(core, a_group(core, "stock", "orders:read", "stock:write"))
    put_in(core, a_group(core, "desk", "orders:write", "orders:read"))
    put_in(core, a_group(core, "nothing"))
    own = {"orders:read", "orders:write", "stock:write"}
    expected = (["desk", "nothing", "stock"], sorted(own | set(PERMISSIONS["admin"])))
    pair = logged_in(core)
    assert claims_of(pair.access_token) == expected
    refreshed = sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    assert claims_of(refreshed.access_token) == expected
    changed = passwords.change(
        core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=signed_in(core)
    )
    assert claims_of(changed.access_token) == expected


def test_the_next_refresh_tells_what_was_changed_since(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    assert claims_of(pair.access_token) == ([], [])

    def refreshed() -> tuple[list[str], list[str]]:
        nonlocal pair
        pair = sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
        return claims_of(pair.access_token)

    group = a_group(core, "desk", "orders:read")
    user_id = put_in(core, group)
    assert refreshed() == (["desk"], ["orders:read"])
    change(core, group, name="counter", grant=["orders:write"])
    assert refreshed() == (["counter"], ["orders:read", "orders:write"])
    memberships.remove(core, group_id=group.id, user_id=user_id, actor=OPERATOR)
    assert refreshed() == ([], [])


def test_a_group_lets_nobody_do_anything_at_usersvc(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a word of usersvc got into it: one that was not reserved when the group was made."""
    monkeypatch.setattr("usersvc.services.groups.permission_name", str)
    active(core)
    put_in(core, a_group(core, "rogue", *PERMISSIONS["admin"]))
    by = signed_in(core)
    for use, more in (
        (groups.list_groups, {}),
        (groups.create, {"name": "mine"}),
        (admin.deactivate, {"user_id": user_row(core).id}),
    ):
        with pytest.raises(Forbidden):
            use(core, **more, actor=by)


# -- the bounds


def test_there_are_so_many_groups_and_no_more(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_groups, "MOST_GROUPS", 2)
    a_group(core, "one")
    a_group(core, "two")
    with pytest.raises(TooManyGroups, match="There are 2 groups already"):
        a_group(core, "three")
    groups.delete(core, group_id=groups.find(core, name="one", actor=OPERATOR).id, actor=OPERATOR)
    a_group(core, "three")


def test_an_account_is_in_so_many_groups_and_no_more(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_groups, "MOST_GROUPS_OF_A_USER", 2)
    active(core)
    for name in ("one", "two"):
        put_in(core, a_group(core, name))
    third = a_group(core, "three")
    with pytest.raises(TooManyGroups, match="This account is in 2 groups already"):
        put_in(core, third)
    assert names_of(core) == ["one", "two"]
    assert [entry.detail["name"] for entry in audit_rows(core, "group.member_added")] == ["one", "two"]


def test_a_group_has_so_many_permissions_and_no_more(core: Core) -> None:
    group = a_group(core, "desk", *words(100))
    with pytest.raises(TooManyPermissions):
        change(core, group, grant=["one:more"])
    swapped = change(core, group, grant=["one:more"], withdraw=words(1))
    assert len(swapped.permissions) == 100


def _bytes(core: Core) -> int:
    """What the token of ada has of her groups, as JSON."""
    return sum(len(json.dumps(word)) + 1 for words in granted(core) for word in words)


def _largest(core: Core) -> tuple[groups.GroupView, groups.GroupView]:
    """Two groups with ada in both, who has as much as may be: 16 bytes of names, 70 and 100 times 24."""
    active(core)
    one = a_group(core, "group", *words(70, 21))
    other = a_group(core, "other", *[f"more:{number:016}" for number in range(100)])
    put_in(core, one)
    put_in(core, other)
    return one, other


def test_the_largest_token_that_may_be_passes_and_one_byte_more_does_not(core: Core) -> None:
    one, other = _largest(core)
    assert _bytes(core) == _groups.MOST_BYTES_OF_CLAIMS == 4096
    token = logged_in(core).access_token
    assert len(token) < 8192 - 1024
    # usersvc itself reads it.
    assert signed_in(core).user_id == user_row(core).id
    too_much: list[dict[str, Any]] = [
        {"name": "group2"},
        {"withdraw": words(1, 21), "grant": ["x" * 10 + ":" + "y" * 11]},
        {"withdraw": words(1, 21), "grant": ["a:b", "c:" + "d" * 14]},
    ]
    for much in too_much:
        with pytest.raises(TokenTooLarge):
            change(core, one, **much)
    with pytest.raises(TokenTooLarge):
        put_in(core, a_group(core, "c"))
    assert claims_of(logged_in(core).access_token) == claims_of(token)
    # What two groups give counts for both, though it stands in the token once.
    with pytest.raises(TokenTooLarge):
        change(core, one, grant=other.permissions[:1])
    change(core, one, name="troup", withdraw=words(1, 21), grant=["x" * 10 + ":" + "y" * 10])
    assert _bytes(core) == 4096
    change(core, one, withdraw=words(2, 21), grant=other.permissions[:1])
    assert _bytes(core) == 4096 - 24


def test_a_role_does_not_count_so_that_it_can_always_be_given(core: Core) -> None:
    _largest(core)
    admin.set_role(core, user_id=user_row(core).id, role="admin", actor=OPERATOR)
    token = logged_in(core).access_token
    assert set(PERMISSIONS["admin"]) < set(claims_of(token)[1])
    assert len(token) < 8192 - 1024


def test_what_a_group_without_members_permits_is_no_matter_until_somebody_is_in_it(core: Core) -> None:
    active(core)
    active(core, BOB)
    large = a_group(core, "large", *words(60, 37))
    larger = a_group(core, "larger", *[f"x{word}" for word in words(60, 36)])
    put_in(core, large)
    put_in(core, larger, BOB)
    with pytest.raises(TokenTooLarge):
        put_in(core, larger)
    # Another one's token is not that of ada.
    change(core, larger, grant=["y:z"])
    assert names_of(core) == ["large"]


def test_of_two_changes_at_once_that_are_too_much_together_one_is_refused(make_core: Make) -> None:
    """Each would do alone: somebody put into two groups, two groups that permit more, one of each."""
    cores = [make_core(), make_core()]
    active(cores[0])
    put_in(cores[0], a_group(cores[0], "filled", *words(85, 37)))
    more = [[f"{place}{word}"[:37] for word in words(12, 36)] for place in "pq"]
    others = [a_group(cores[0], f"other-{place}", *more[place]) for place in (0, 1)]
    empty = [a_group(cores[0], f"empty-{place}") for place in (0, 1)]
    for group in empty:
        put_in(cores[0], group)
    ways: list[Callable[[int], object]] = [
        lambda place: put_in(cores[place], others[place]),
        lambda place: change(cores[place], empty[place], grant=more[place]),
    ]
    for first in ways:
        for second in ways:
            answers = together(partial(first, 0), partial(second, 1))
            assert [type(answer) for answer in answers].count(TokenTooLarge) == 1, answers
            assert 3800 < _bytes(cores[0]) <= 4096
            for group in others:
                memberships.remove(cores[0], group_id=group.id, user_id=user_row(cores[0]).id, actor=OPERATOR)
            for group in empty:
                change(cores[0], group, permissions=[])


def test_of_two_groups_of_one_name_that_are_made_at_once_one_is_refused(make_core: Make) -> None:
    cores = [make_core(), make_core()]
    answers = together(*[partial(a_group, core, "desk") for core in cores])
    assert {type(answer) for answer in answers} == {GroupNameTaken, groups.GroupView}
    assert len(groups.list_groups(cores[0], actor=OPERATOR).groups) == 1
