"""The audit read: in order, page by page, filtered, followed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.factories import OPERATOR, STRANGER, active, an_admin, signed_in
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import Forbidden, InvalidCursor
from usersvc.security import cursors
from usersvc.services import admin, audit
from usersvc.services.actor import Actor
from usersvc.services.audit import LATE, Entry, Filters

BEGAN = datetime(2026, 6, 1, 12, tzinfo=UTC)
ADA, BOB, NOBODY = (UUID(f"01a201b2-37f6-71c5-8595-9ace836b8cc{n}") for n in (1, 2, 3))
A_MOMENT = timedelta(microseconds=1)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock(BEGAN)


@pytest.fixture
def core(core: Core) -> Core:
    """With nothing in its audit."""
    with core.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM audit")
    return core


def write(core: Core, *actions: str, by: Actor = OPERATOR, target: UUID | None = None) -> None:
    """In one transaction."""
    with core.write() as tx:
        for action in actions:
            tx.audit(by, action, target=target)


def write_late(core: Core, action: str, at: datetime) -> None:
    """As a transaction that began at this time and is committed now."""
    with core.write() as tx:
        tx.now = at
        tx.audit(OPERATOR, action)


def user(user_id: UUID) -> Actor:
    return Actor("user", user_id=user_id, ip="192.0.2.1", request_id="r-1")


def actions(entries: list[Entry]) -> list[str]:
    return [entry.action for entry in entries]


def page(core: Core, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> audit.Page:
    return audit.list_entries(core, filters=Filters(**filters), limit=limit, cursor=cursor, actor=OPERATOR)


def listed(core: Core, *, limit: int = 50, **filters: Any) -> list[str]:
    """The newest first, all pages."""
    found, cursor = [], None
    while True:
        shown = page(core, limit=limit, cursor=cursor, **filters)
        found += actions(shown.entries)
        cursor = shown.next_cursor
        if cursor is None:
            return found


def test_an_entry_is_shown_as_it_was_written(core: Core) -> None:
    detail: dict[str, Any] = {"counts": {"sessions": 1}, "nothing": None, "name": "Ω\u2028\x1b[31m"}
    with core.write() as tx:
        tx.audit(user(ADA), "user.renamed", target=BOB, outcome="FORBIDDEN", **detail)
    [entry] = page(core).entries
    assert vars(entry) == {
        "id": entry.id,
        "at": BEGAN,
        "actor_kind": "user",
        "actor_id": ADA,
        "actor_name": None,
        "action": "user.renamed",
        "target_id": BOB,
        "ip": "192.0.2.1",
        "outcome": "FORBIDDEN",
        "request_id": "r-1",
        "detail": detail,
    }


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
def test_pages_show_everything_once_the_newest_first_while_others_write(
    core: Core, clock: MovedClock, limit: int
) -> None:
    names = [f"test.n{number}" for number in range(23)]
    write(core, *names[:10])
    for name in names[10:]:
        clock.move(microseconds=1)
        write(core, name)
    found, cursor = [], None
    while True:
        shown = page(core, limit=limit, cursor=cursor)
        assert len(shown.entries) <= limit
        found += actions(shown.entries)
        clock.move(microseconds=1)
        write(core, "test.in_between")
        cursor = shown.next_cursor
        if cursor is None:
            break
    assert found == names[::-1]


def test_a_page_of_just_what_is_there_is_the_last_and_none_is_over_a_hundred(core: Core) -> None:
    write(core, *["test.same"] * 102)
    assert page(core, limit=101).next_cursor
    assert len(page(core, limit=10**9).entries) == audit.MOST == 100
    with core.write() as tx:
        tx.audit_entries.delete_before(tx.now + timedelta(days=1), limit=97)
    assert page(core, limit=5).next_cursor is None
    assert page(core, limit=4).next_cursor
    assert page(core, action="nothing.") == audit.Page([], None)


@pytest.fixture
def varied(core: Core, clock: MovedClock) -> Core:
    for by, action, target in [
        (user(ADA), "user.renamed", ADA),
        (user(BOB), "user.role_changed", ADA),
        (OPERATOR, "user.invited", BOB),
        (Actor.job("purge"), "data.purged", None),
        (STRANGER, "user.login_failed", None),
        (STRANGER, "userless.thing", None),
        (STRANGER, "user", ADA),
    ]:
        write(core, action, by=by, target=target)
        clock.move(hours=1)
    return core


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"actor": ADA}, "user.renamed"),
        ({"actor": "user"}, "user.renamed user.role_changed"),
        ({"actor": "anonymous"}, "user.login_failed userless.thing user"),
        ({"actor": "operator"}, "user.invited"),
        ({"actor": "job"}, "data.purged"),
        ({"actor": NOBODY}, ""),
        ({"target": ADA}, "user.renamed user.role_changed user"),
        ({"action": "user.renamed"}, "user.renamed"),
        ({"action": "user."}, "user.renamed user.role_changed user.invited user.login_failed"),
        ({"action": "user.%"}, ""),
        ({"target": ADA, "action": "user."}, "user.renamed user.role_changed"),
        ({"actor": BOB, "target": ADA, "action": "user.role_changed"}, "user.role_changed"),
        ({"since": BEGAN + timedelta(hours=5)}, "userless.thing user"),
        ({"since": BEGAN + timedelta(hours=5) + A_MOMENT}, "user"),
        ({"until": BEGAN + timedelta(hours=1)}, "user.renamed"),
        ({"until": BEGAN + timedelta(hours=1) + A_MOMENT}, "user.renamed user.role_changed"),
        ({"since": BEGAN + timedelta(hours=2), "until": BEGAN + timedelta(hours=2)}, ""),
        (
            {
                "since": datetime(1, 1, 1, tzinfo=UTC),
                "until": datetime(9999, 1, 1, tzinfo=UTC),
                "actor": "job",
            },
            "data.purged",
        ),
    ],
    ids=str,
)
def test_filters_find_what_they_say_and_nothing_else(
    varied: Core, filters: dict[str, Any], expected: str
) -> None:
    for limit in (1, 50):
        assert listed(varied, limit=limit, **filters) == expected.split()[::-1]


@pytest.mark.parametrize(
    "other",
    [{"actor": "user"}, {"target": ADA}, {"action": "test."}, {"since": BEGAN}, {"until": BEGAN}],
    ids=str,
)
def test_a62_a_cursor_belongs_to_its_filters(core: Core, other: dict[str, Any]) -> None:
    write(core, *["test.same"] * 5)
    cursor = page(core, limit=1).next_cursor
    assert page(core, limit=2, cursor=cursor).entries
    with pytest.raises(InvalidCursor):
        page(core, cursor=cursor, **other)


def test_a62_a_cursor_that_was_made_up_or_is_of_another_list_is_refused(core: Core) -> None:
    write(core, *["test.same"] * 3)
    cursor = page(core, limit=1).next_cursor
    assert cursor
    opened = cursors.unseal(core.key_ring, "audit", cursor)
    of_users = cursors.seal(core.key_ring, "users", opened, at=core.clock.now())
    for forged in (of_users, cursor[:-4], "", "x", ".", "é", "\ud800"):
        with pytest.raises(InvalidCursor):
            page(core, cursor=forged)


def test_a52_only_who_may_read_the_audit_reads_it_and_only_as_long_as_that(core: Core) -> None:
    root, ada = an_admin(core), active(core)
    by_root, by_ada = signed_in(core, root.email), signed_in(core, ada.email)
    following = audit.follow(core, filters=Filters(), actor=by_root)
    next(following)
    assert audit.list_entries(core, filters=Filters(), actor=by_root).entries
    admin.set_role(core, user_id=ada.id, role="moderator", actor=by_root)
    for actor in (STRANGER, by_ada, Actor.job("purge"), Actor("user", user_id=root.id)):
        with pytest.raises(Forbidden):
            audit.list_entries(core, filters=Filters(), actor=actor)
        with pytest.raises(Forbidden):
            next(audit.follow(core, filters=Filters(), actor=actor))
    an_admin(core, "other@example.org")
    admin.set_role(core, user_id=root.id, role="user", actor=OPERATOR)
    with pytest.raises(Forbidden):
        next(following)


# -- followed


def following(core: Core, **filters: Any) -> Callable[[], list[str]]:
    """What comes next, in one step."""
    steps = audit.follow(core, filters=Filters(**filters), actor=OPERATOR)
    return lambda: actions(next(steps))


def test_following_begins_now_and_goes_on_with_what_comes(core: Core, clock: MovedClock) -> None:
    write(core, "test.before")
    news = following(core)
    assert news() == []
    write(core, "test.one", "test.two")
    clock.move(seconds=1)
    write(core, "test.three")
    assert news() == ["test.one", "test.two", "test.three"]
    assert news() == []


def test_following_can_begin_before_and_reads_a_long_audit_in_steps(core: Core, clock: MovedClock) -> None:
    names = [f"test.n{number}" for number in range(1203)]
    write(core, "test.older")
    clock.move(days=1)
    write(core, *names)
    clock.move(days=1)
    news = following(core, since=BEGAN + A_MOMENT)
    found: list[str] = []
    while step := news():
        assert len(step) <= 500
        found += step
        if len(found) == 500:
            write(core, "test.meanwhile")
    assert found == [*names, "test.meanwhile"]


def test_every_entry_comes_once_whatever_its_time(core: Core, clock: MovedClock) -> None:
    """Of the same microsecond as one that was shown, or older: times are made before the commit."""
    news = following(core)
    found = news()
    for number in range(60):
        write(core, f"test.same{number}")
        write_late(core, f"test.late{number}", clock.now() - timedelta(seconds=number))
        found += news()
        clock.move(milliseconds=number)
    assert len(found) == 120
    assert sorted(found) == sorted(listed(core))


def test_a_flood_of_late_ones_brings_nothing_twice(core: Core, clock: MovedClock) -> None:
    news = following(core)
    news()
    write(core, "test.first")
    assert news() == ["test.first"]
    with core.write() as tx:
        tx.now = clock.now() - timedelta(seconds=30)
        for number in range(1700):
            tx.audit(OPERATOR, f"test.n{number}")
    found: list[str] = []
    while step := news():
        found += step
    assert found == [f"test.n{number}" for number in range(1700)]


def test_who_is_later_than_the_limit_of_lateness_is_in_the_list_alone(core: Core, clock: MovedClock) -> None:
    news = following(core)
    assert news() == news() == []
    write_late(core, "test.in_time", clock.now() - LATE)
    write_late(core, "test.too_late", clock.now() - LATE - A_MOMENT)
    assert news() == ["test.in_time"]
    assert listed(core) == ["test.in_time", "test.too_late"]


def test_who_looks_seldom_misses_nothing(core: Core, clock: MovedClock) -> None:
    news = following(core)
    news()
    for number in range(3):
        write(core, f"test.n{number}")
        clock.move(hours=1)
    assert news() == ["test.n0", "test.n1", "test.n2"]
    assert news() == []


def test_a_clock_that_is_set_back_brings_nothing_twice(core: Core, clock: MovedClock) -> None:
    news = following(core)
    news()
    write(core, "test.before")
    assert news() == ["test.before"]
    clock.move(minutes=5)
    assert news() == []
    clock.move(minutes=-6)
    assert news() == news() == []


def test_following_keeps_to_the_filters(core: Core) -> None:
    news = following(core, actor="operator", action="test.")
    news()
    write(core, "test.found", "other.thing")
    write(core, "test.of_another", by=STRANGER)
    assert news() == ["test.found"]
