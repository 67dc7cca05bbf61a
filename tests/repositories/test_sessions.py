"""Sessions: who takes a step, which ones end, which ones are purged."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import statement
from tests.factories import active, logged_in
from usersvc.clock import MovedClock
from usersvc.core import Core, Tx
from usersvc.db.models import sessions as table
from usersvc.repositories.sessions import Session
from usersvc.security.secrets import digest, new_id

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def session(core: Core) -> Session:
    """One that a user opened by logging in."""
    account = active(core)
    logged_in(core)
    [session] = _of(core, account.id)
    return session


def _of(core: Core, user_id: UUID) -> list[Session]:
    with core.read() as tx:
        found = tx.connection.execute(table.select().where(table.c.user_id == user_id))
        ids = [row.id for row in found]
    return [_again(core, session_id) for session_id in ids]


def _again(core: Core, session_id: UUID) -> Session:
    with core.read() as tx:
        found = tx.sessions.with_user(session_id)
    assert found
    user, session = found
    assert user.id == session.user_id
    return session


def _opened(core: Core, like: Session, **values: object) -> Session:
    session = replace(like, id=new_id(core.clock.now()), rnd_digest=digest("another"), **values)
    with core.write() as tx:
        tx.sessions.insert(session)
    return session


def test_a31_of_many_that_take_the_same_step_one_gets_it(
    make_core: Make, core: Core, session: Session
) -> None:
    """In threads, and through two databases as from two processes."""
    cores = [core, make_core()]
    together = threading.Barrier(8, timeout=60)
    wins: list[bool] = []

    def rotate(mine: Core) -> None:
        together.wait()
        with mine.write(wait=60) as tx:
            wins.append(tx.sessions.rotate(session.id, seq=1, at=tx.now, expires_at=tx.now + DAY))

    threads = [threading.Thread(target=rotate, args=(cores[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]
    assert _again(core, session.id).seq == 2


def test_a_step_moves_the_times_of_the_session_and_of_no_other(
    core: Core, clock: MovedClock, session: Session
) -> None:
    other = _opened(core, session)
    clock.move(hours=1)
    with core.write() as tx:
        assert tx.sessions.rotate(session.id, seq=1, at=tx.now, expires_at=tx.now + DAY)
    now = clock.now()
    expected = replace(session, seq=2, rotated_at=now, last_used_at=now, expires_at=now + DAY)
    assert _again(core, session.id) == expected
    assert _again(core, other.id) == other


def test_a_step_of_an_ended_session_is_not_taken(core: Core, session: Session) -> None:
    with core.write() as tx:
        assert tx.sessions.end(session.id, "logged out", at=tx.now)
        assert not tx.sessions.rotate(session.id, seq=1, at=tx.now, expires_at=tx.now + DAY)
    assert _again(core, session.id).seq == 1


def test_a_session_ends_once_and_keeps_its_first_reason(
    core: Core, clock: MovedClock, session: Session
) -> None:
    ended_at = clock.now()
    with core.write() as tx:
        assert tx.sessions.end(session.id, "logged out", at=tx.now)
    clock.move(hours=1)
    with core.write() as tx:
        assert not tx.sessions.end(session.id, "too late", at=tx.now)
        assert tx.sessions.end_all(session.user_id, "too late", at=tx.now) == 0
    ended = _again(core, session.id)
    assert (ended.ended_at, ended.end_reason) == (ended_at, "logged out")


def test_only_the_sessions_of_that_user_end(core: Core, session: Session) -> None:
    other = active(core, "other@example.org")
    logged_in(core, "other@example.org")
    with core.write() as tx:
        assert tx.sessions.end_all(session.user_id, "logged out", at=tx.now) == 1
        assert tx.sessions.end_beyond(session.user_id, 0, at=tx.now) == 0
    [theirs] = _of(core, other.id)
    assert theirs.ended_at is None


def test_the_least_recently_used_sessions_end_beyond_the_limit(core: Core, session: Session) -> None:
    now = core.clock.now()
    used = [_opened(core, session, last_used_at=now - timedelta(minutes=m)) for m in (30, 10, 20)]
    expired = _opened(core, session, last_used_at=now, expires_at=now)
    ended = _opened(core, session, last_used_at=now, ended_at=now, end_reason="logged out")
    with core.write() as tx:
        assert tx.sessions.end_beyond(session.user_id, 2, at=tx.now) == 2
        assert tx.sessions.end_beyond(session.user_id, 2, at=tx.now) == 0
    living = {found.id for found in _of(core, session.user_id) if found.ended_at is None}
    assert living == {session.id, used[1].id, expired.id}
    assert _again(core, used[0].id).end_reason == _again(core, used[2].id).end_reason == "too many sessions"
    assert _again(core, ended.id) == ended


def test_sessions_used_at_the_same_time_end_one_by_one(core: Core, session: Session) -> None:
    for _ in range(4):
        _opened(core, session)
    with core.write() as tx:
        assert tx.sessions.end_beyond(session.user_id, 3, at=tx.now) == 2
    assert sum(found.ended_at is None for found in _of(core, session.user_id)) == 3


def test_a_session_is_dead_from_its_last_instant_on(core: Core, session: Session) -> None:
    for late in (session.expires_at, session.expires_at + INSTANT):
        assert not session.lives(late)
        with core.write() as tx:
            assert tx.sessions.living(session.user_id, at=late) == []
            assert not tx.sessions.end_one_of(session.user_id, session.id, "too late", at=late)
            assert tx.sessions.end_all(session.user_id, "too late", at=late) == 0
            assert tx.sessions.end_beyond(session.user_id, 0, at=late) == 0
    assert _again(core, session.id) == session


@pytest.mark.parametrize(
    "end",
    [
        lambda tx, one, at: tx.sessions.end_one_of(one.user_id, one.id, "why", at=at),
        lambda tx, one, at: tx.sessions.end_all(one.user_id, "why", at=at) == 1,
        lambda tx, one, at: tx.sessions.end_beyond(one.user_id, 0, at=at) == 1,
    ],
)
def test_until_its_last_instant_a_session_can_be_ended(
    core: Core, session: Session, end: Callable[[Tx, Session, datetime], bool]
) -> None:
    at = session.expires_at - INSTANT
    assert session.lives(at)
    with core.write() as tx:
        assert tx.sessions.living(session.user_id, at=at) == [session]
        assert end(tx, session, at)
        assert not end(tx, session, at)
        assert tx.sessions.living(session.user_id, at=at) == []
    ended = _again(core, session.id)
    assert ended.ended_at == at
    assert not ended.lives(at)


def test_one_session_ends_and_only_for_whom_it_belongs_to(core: Core, session: Session) -> None:
    second = _opened(core, session)
    other = active(core, "other@example.org")
    with core.write() as tx:
        assert not tx.sessions.end_one_of(other.id, session.id, "of another", at=tx.now)
        assert not tx.sessions.end_one_of(session.user_id, new_id(tx.now), "of nobody", at=tx.now)
        assert tx.sessions.end_one_of(session.user_id, session.id, "ended by its owner", at=tx.now)
    assert _again(core, session.id).end_reason == "ended by its owner"
    assert _again(core, second.id).lives(core.clock.now())


def test_the_living_sessions_of_a_user_are_listed_the_last_used_first(core: Core, session: Session) -> None:
    now = core.clock.now()
    older = _opened(core, session, last_used_at=now - DAY)
    newer = _opened(core, session, last_used_at=now)
    same = _opened(core, session, last_used_at=now)
    _opened(core, session, ended_at=now, end_reason="logged out")
    active(core, "other@example.org")
    logged_in(core, "other@example.org")
    with core.read() as tx:
        found = [one.id for one in tx.sessions.living(session.user_id, at=now)]
    assert found == [*sorted([newer.id, same.id, session.id], reverse=True), older.id]


def test_purging_leaves_what_was_done_just_then(core: Core, session: Session) -> None:
    before = session.expires_at - DAY
    ended = _opened(core, session, ended_at=before, end_reason="logged out")
    expired = _opened(core, session, expires_at=before)
    with core.write() as tx:
        assert tx.sessions.count_done_before(before) == 0
        assert tx.sessions.delete_done_before(before, limit=10) == 0
        assert tx.sessions.count_done_before(before + INSTANT) == 2
        assert tx.sessions.delete_done_before(before + INSTANT, limit=10) == 2
        assert tx.sessions.with_user(ended.id) is tx.sessions.with_user(expired.id) is None


def test_purging_takes_ended_and_expired_sessions_up_to_the_limit(core: Core, session: Session) -> None:
    now = core.clock.now()
    old = now - 40 * DAY
    for _ in range(3):
        _opened(core, session, ended_at=old, end_reason="logged out", expires_at=now + DAY)
    for _ in range(2):
        _opened(core, session, expires_at=old)
    kept = [
        session,
        _opened(core, session, ended_at=now, end_reason="logged out"),
        _opened(core, session, expires_at=now - DAY),
    ]
    before = now - 30 * DAY
    with core.write() as tx:
        assert tx.sessions.count_done_before(before) == 5
        assert tx.sessions.delete_done_before(before, limit=4) == 4
    with core.write() as tx:
        assert tx.sessions.count_done_before(before) == 1
        assert tx.sessions.delete_done_before(before, limit=4) == 1
        assert tx.sessions.delete_done_before(before, limit=4) == 0
    assert {found.id for found in _of(core, session.user_id)} == {found.id for found in kept}


def test_a_session_goes_with_its_user(core: Core, session: Session) -> None:
    with core.write() as tx:
        tx.connection.execute(statement("DELETE FROM users WHERE id = :id", id=session.user_id))
        assert tx.sessions.with_user(session.id) is None
    assert _of(core, session.user_id) == []
