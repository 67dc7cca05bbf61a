"""The list of users: every one once, in order, page by page; searched and filtered."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from tests.factories import OPERATOR, invited, rewrite_user, user_row
from tests.groups import a_group, put_in
from usersvc.core import Core
from usersvc.errors import InvalidCursor
from usersvc.security import cursors
from usersvc.security.keys import KeyRing, Use, make_key
from usersvc.services import admin, directory
from usersvc.services.accounts import Account


def _pages(core: Core, **query: Any) -> Iterator[list[Account]]:
    cursor = None
    while True:
        page = directory.list_users(core, **query, cursor=cursor, actor=OPERATOR)
        yield page.accounts
        cursor = page.next_cursor
        if cursor is None:
            return


def _emails(core: Core, **query: Any) -> list[str]:
    return [account.email for page in _pages(core, **query) for account in page]


def _names(core: Core, **query: Any) -> list[str]:
    return [email.removesuffix("@example.org") for email in _emails(core, **query)]


@pytest.fixture
def eleven(core: Core) -> list[Account]:
    """Accounts whose order by time is not that by address; most were made in one moment."""
    for number in range(11):
        invited(core, f"{'kcaibjdhegf'[number]}@example.org")
    rewrite_user(core, "a@example.org", created_at=core.clock.now() - timedelta(days=1))
    rewrite_user(core, "b@example.org", created_at=core.clock.now() + timedelta(days=1))
    return directory.list_users(core, limit=100, actor=OPERATOR).accounts


def test_pages_show_everybody_once_in_order(core: Core, eleven: list[Account]) -> None:
    for sort, limit in product(directory.SORTS, [1, 3, 10, 11, 12]):
        pages = list(_pages(core, sort=sort, limit=limit))
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1), (sort, limit)
        assert 1 <= len(pages[-1]) <= limit, (sort, limit)
        expected = sorted(eleven, key=_place_in(sort), reverse=sort.startswith("-"))
        assert [account for page in pages for account in page] == expected, (sort, limit)
        assert len(expected) == 11


def _place_in(sort: directory.Sort) -> Callable[[Account], tuple[object, UUID]]:
    return lambda account: (account.email if sort.endswith("email") else account.created_at, account.id)


def test_nobody_is_missed_or_shown_twice_because_others_come_and_go(
    core: Core, eleven: list[Account]
) -> None:
    pages = _pages(core, sort="email", limit=4)
    assert [account.email[0] for account in next(pages)] == list("abcd")
    invited(core, "aa@example.org")
    invited(core, "ee@example.org")
    with core.write() as tx:
        tx.connection.exec_driver_sql(
            "DELETE FROM users WHERE email_key IN ('d@example.org', 'h@example.org')"
        )
    rest = [account.email.partition("@")[0] for page in pages for account in page]
    assert rest == ["e", "ee", "f", "g", "i", "j", "k"]


def test_no_page_is_longer_than_the_most(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST", 3)
    for number in range(5):
        invited(core, f"u{number}@example.org")
    assert [len(page) for page in _pages(core, limit=1000)] == [3, 2]


def test_an_empty_list_is_one_empty_page(core: Core) -> None:
    assert list(_pages(core)) == [[]]


def test_filters_narrow_together(core: Core) -> None:
    invited(core, "ada@example.org", role="admin")
    invited(core, "amy@example.org")
    invited(core, "bob@example.org", role="admin")
    admin.deactivate(core, user_id=user_row(core, "bob@example.org").id, actor=OPERATOR)
    assert _names(core, role="admin", sort="email") == ["ada", "bob"]
    assert _names(core, role="user") == ["amy"]
    assert _names(core, role="moderator") == []
    assert _names(core, status="deactivated") == ["bob"]
    assert _names(core, role="admin", status="invited") == ["ada"]
    assert _names(core, role="admin", status="invited", q="b") == []
    assert _names(core, q="a", sort="-email", limit=1) == ["amy", "ada"]


def test_all_that_can_be_asked_for_narrows_together(core: Core, eleven: list[Account]) -> None:
    """In `a`, yesterday, through `b`, tomorrow; the other nine of now."""
    now, day = core.clock.now(), timedelta(days=1)
    rewrite_user(core, "a@example.org", last_login_at=now)
    rewrite_user(core, "b@example.org", last_login_at=now - 2 * day)
    group = a_group(core)
    for name in "abc":
        put_in(core, group, f"{name}@example.org")

    def found(**filters: Any) -> str:
        accounts = directory.each(core, filters=directory.Filters(**filters), actor=OPERATOR)
        return "".join(sorted(account.email[0] for account in accounts))

    assert found(created_before=now) == "a"
    assert found(created_from=now) == "bcdefghijk"
    assert found(created_from=now, created_before=now + day) == "cdefghijk"
    assert found(idle_since=now - day) == "b"
    assert found(idle_since=now) == "b"
    assert found(idle_since=now + day) == "abcdefghijk"
    assert found(group_id=group.id) == "abc"
    assert found(group_id=uuid4()) == ""
    assert found(group_id=group.id, created_from=now, prefix="b", role="user", status="invited") == "b"
    assert found(other_status="invited") == ""
    assert found(other_role="admin", prefix="k") == "k"
    with core.read() as tx:
        filters = directory.Filters(group_id=group.id, created_before=now, prefix="a", idle_since=now + day)
        assert [account.email[0] for account in eleven if tx.directory.matches(account.id, filters)] == ["a"]


def test_q_is_how_the_address_or_the_username_begins(core: Core) -> None:
    invited(core, "ada@example.org", username="zoe")
    invited(core, "Bob_x@example.org", username="a_b")
    invited(core, "bobby@example.org", username="axb")
    assert _names(core, q="AD") == ["ada"]
    assert _names(core, q="ZO") == ["ada"]
    assert sorted(_names(core, q="a")) == ["Bob_x", "ada", "bobby"]
    assert _names(core, q="bob_") == ["Bob_x"]
    assert _names(core, q="a_") == ["Bob_x"]
    assert _names(core, q="example") == []
    assert _names(core, q="bobby@example.org") == ["bobby"]


@pytest.mark.parametrize(
    "q", ["%", "_", "a%", "*", "?", "[a-z]", "a\\", "'", "\U0010ffff", "'; DROP TABLE users"]
)
def test_no_character_in_q_is_special(core: Core, q: str) -> None:
    invited(core, "ada@example.org", username="ada")
    assert _names(core, q=q) == []
    assert _names(core) == ["ada"]


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "email"},
        {"sort": "-created_at"},
        {"q": "b"},
        {"role": "admin"},
        {"status": "active"},
        {"q": None},
    ],
    ids=str,
)
def test_a_cursor_belongs_to_its_sort_and_filters(
    core: Core, eleven: list[Account], other: dict[str, Any]
) -> None:
    for number in range(2):
        invited(core, f"a{number}@example.org")
    query = {"q": "a", "sort": "created_at", "limit": 1}
    cursor = directory.list_users(core, **query, actor=OPERATOR).next_cursor
    assert cursor
    assert directory.list_users(core, **{**query, "limit": 2}, cursor=cursor, actor=OPERATOR).accounts
    with pytest.raises(InvalidCursor):
        directory.list_users(core, **{**query, **other}, cursor=cursor, actor=OPERATOR)


def test_a_cursor_that_was_made_up_or_changed_is_refused(core: Core, eleven: list[Account]) -> None:
    cursor = directory.list_users(core, limit=1, actor=OPERATOR).next_cursor
    assert cursor
    now = core.clock.now()
    foreign = cursors.seal(KeyRing([make_key(Use.CURSOR)]), "users", {"sort": "email"}, at=now)
    of_another_list = cursors.seal(core.key_ring, "audit", {"sort": "created_at"}, at=now)
    swapped = "A" if cursor[-10] != "A" else "B"
    changed = cursor[:-10] + swapped + cursor[-9:]
    for forged in (foreign, of_another_list, changed, cursor[:-4], "", "x", ".", "x.y", "\ud800", "é.é"):
        with pytest.raises(InvalidCursor):
            directory.list_users(core, limit=1, cursor=forged, actor=OPERATOR)


@pytest.mark.sqlite
@pytest.mark.parametrize("sort", directory.SORTS)
def test_a_page_is_read_off_an_index_wherever_it_begins(
    core: Core, eleven: list[Account], sort: directory.Sort
) -> None:
    ran: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if "FROM users" in statement:
            ran.append((statement, values))

    first = directory.list_users(core, sort=sort, limit=3, actor=OPERATOR)
    with core.read() as tx:
        engine = tx.connection.engine
    event.listen(engine, "before_cursor_execute", note)
    directory.list_users(core, sort=sort, limit=3, actor=OPERATOR)
    directory.list_users(core, sort=sort, limit=3, cursor=first.next_cursor, actor=OPERATOR)
    event.remove(engine, "before_cursor_execute", note)
    assert len(ran) == 2
    index = "uq_users_email_key" if sort.endswith("email") else "ix_users_created_at_id"
    for statement, values in ran:
        with core.read() as tx:
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        steps = [str(row[3]) for row in plan]
        assert not [step for step in steps if "TEMP B-TREE" in step]
        assert index in steps[0]
    assert steps[0].startswith("SEARCH")


@pytest.mark.parametrize("sort", directory.SORTS)
@pytest.mark.parametrize("few", [3, 4, 5])
def test_who_is_found_does_not_depend_on_how_many_are(
    core: Core, monkeypatch: pytest.MonkeyPatch, few: int, sort: directory.Sort
) -> None:
    for name in ("bob", "ada", "abe", "eve", "amy", "ann"):
        invited(core, f"{name}@example.org")
    everybody = [name for name in _names(core, sort=sort) if name.startswith("a")]
    monkeypatch.setattr("usersvc.repositories.directory._FEW", few)
    assert _names(core, q="a", sort=sort, limit=3) == everybody
    assert len(everybody) == 4
