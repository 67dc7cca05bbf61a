"""The counters of the limits: the window, the pause, the most, and a clock that is set."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Make
from usersvc.core import Core
from usersvc.security.limits import Counter, PerWindow
from usersvc.security.secrets import digest
from usersvc.services._limits import Limit

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
NONE = timedelta(0)
KEY = digest("a key")


def _take(
    core: Core,
    at: datetime,
    *,
    kind: str = "mail activation",
    key: bytes = KEY,
    window: timedelta = HOUR,
    most: int = 5,
    pause: timedelta = MINUTE,
) -> bool:
    with core.write(wait=60) as tx:
        tx.now = at
        return Limit(kind, key, PerWindow(most, window, pause)).take(tx) is None


def test_no_more_than_the_most_are_taken_in_a_window(core: Core) -> None:
    taken = [_take(core, NOON + n * 2 * MINUTE) for n in range(7)]
    assert taken == [True] * 5 + [False] * 2


def test_a_new_window_begins_when_the_old_one_is_over(core: Core) -> None:
    assert [_take(core, NOON + n * SECOND, most=2, pause=NONE) for n in range(3)] == [True, True, False]
    assert not _take(core, NOON + HOUR - SECOND, most=2, pause=NONE)
    later = NOON + HOUR
    assert [_take(core, later + n * SECOND, most=2, pause=NONE) for n in range(3)] == [True, True, False]


def test_between_two_there_is_a_pause(core: Core) -> None:
    assert _take(core, NOON)
    assert not _take(core, NOON + SECOND)
    assert not _take(core, NOON + MINUTE - SECOND)
    assert _take(core, NOON + MINUTE)
    assert not _take(core, NOON + MINUTE + SECOND)


def test_what_is_refused_counts_nothing_and_draws_out_no_pause(core: Core) -> None:
    assert _take(core, NOON, most=2)
    for second in range(1, 59):
        assert not _take(core, NOON + second * SECOND, most=2)
    assert _take(core, NOON + MINUTE, most=2)


def test_a_pause_goes_on_over_the_end_of_the_window(core: Core) -> None:
    assert _take(core, NOON)
    assert _take(core, NOON + HOUR - SECOND)
    assert not _take(core, NOON + HOUR)
    assert _take(core, NOON + HOUR + MINUTE)


def test_a_pause_that_is_longer_than_the_window_is_kept(core: Core) -> None:
    assert _take(core, NOON, window=MINUTE, pause=HOUR)
    assert not _take(core, NOON + 2 * MINUTE, window=MINUTE, pause=HOUR)
    assert _take(core, NOON + HOUR, window=MINUTE, pause=HOUR)


def test_without_a_pause_only_the_most_counts(core: Core) -> None:
    assert [_take(core, NOON, most=3, pause=NONE) for _ in range(4)] == [True, True, True, False]


def test_kinds_and_keys_are_counted_apart(core: Core) -> None:
    assert _take(core, NOON)
    assert _take(core, NOON, kind="mail reset")
    assert _take(core, NOON, key=digest("another key"))
    assert not _take(core, NOON)


@pytest.mark.parametrize("back", [HOUR, timedelta(days=1)])
def test_r20_a_clock_that_was_set_back_locks_nobody_out(core: Core, back: timedelta) -> None:
    """What was counted in a future that is none any more does not last until that comes again."""
    for number in range(5):
        assert _take(core, NOON + number * MINUTE)
    assert not _take(core, NOON + 5 * MINUTE)
    earlier = NOON - back
    assert [_take(core, earlier + n * MINUTE) for n in range(6)] == [True] * 5 + [False]


def test_r20_a_clock_that_was_set_forward_begins_a_new_window(core: Core) -> None:
    assert _take(core, NOON, most=1)
    assert _take(core, NOON + timedelta(days=365), most=1)


def test_of_many_at_once_exactly_the_most_get_through(make_core: Make) -> None:
    """In threads, and through two databases as from two processes."""
    cores = [make_core(), make_core()]
    together = threading.Barrier(10, timeout=60)
    taken: list[bool] = []

    def take(mine: Core) -> None:
        together.wait()
        taken.append(_take(mine, NOON, pause=NONE))

    threads = [threading.Thread(target=take, args=(cores[number % 2],)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 5 + [True] * 5


def test_a_count_in_a_transaction_that_fails_did_not_happen(core: Core) -> None:
    try:
        with core.write() as tx:
            tx.now = NOON
            assert Limit("mail", KEY, PerWindow(1, HOUR, MINUTE)).take(tx) is None
            raise RuntimeError
    except RuntimeError:
        pass
    assert _take(core, NOON, kind="mail", most=1)


def test_looking_counts_nothing_and_deleting_begins_anew(core: Core) -> None:
    limit = Limit("mail", KEY, PerWindow(1, HOUR))
    with core.write() as tx:
        tx.now = NOON
        assert tx.throttle.find("mail", KEY, at=NOON) == Counter.new(NOON)
        assert [limit.allowed_at(tx) for _ in range(2)] == [None, None]
        assert limit.take(tx) is None
        assert limit.allowed_at(tx) == NOON + HOUR
        assert not tx.throttle.delete("mail", digest("another key"))
        assert not tx.throttle.delete("mail reset", KEY)
        assert limit.allowed_at(tx) == NOON + HOUR
        assert tx.throttle.delete("mail", KEY)
        assert not tx.throttle.delete("mail", KEY)
        assert limit.allowed_at(tx) is None


def test_purging_takes_expired_counters_up_to_the_limit(core: Core) -> None:
    for number in range(5):
        assert _take(core, NOON, key=digest(str(number)))
    assert _take(core, NOON + MINUTE, key=digest("young"))
    # The same key under another kind, and another key under the same kind, are rows of their own.
    assert _take(core, NOON + MINUTE, key=digest("0"), kind="mail reset")
    end = NOON + HOUR
    with core.write() as tx:
        assert tx.throttle.count_expired(end - SECOND) == 0
        assert tx.throttle.delete_expired(end - SECOND, limit=10) == 0
        assert tx.throttle.count_expired(end) == 5
        assert tx.throttle.count_expired(end + SECOND) == 5
        assert tx.throttle.delete_expired(end, limit=3) == 3
    with core.write() as tx:
        assert tx.throttle.count_expired(end) == 2
        assert tx.throttle.delete_expired(end, limit=3) == 2
        assert tx.throttle.delete_expired(end, limit=3) == 0
        left = {tuple(row) for row in tx.connection.exec_driver_sql("SELECT kind, key_digest FROM throttle")}
    assert left == {("mail activation", digest("young")), ("mail reset", digest("0"))}


def test_purging_leaves_a_counter_while_its_pause_goes_on(core: Core) -> None:
    assert _take(core, NOON)
    assert _take(core, NOON + HOUR - SECOND)
    with core.write() as tx:
        assert tx.throttle.delete_expired(NOON + HOUR, limit=10) == 0
        assert tx.throttle.delete_expired(NOON + HOUR + MINUTE, limit=10) == 1


def test_purging_keeps_to_the_limit_where_kinds_share_a_key(core: Core) -> None:
    assert _take(core, NOON)
    assert _take(core, NOON, kind="mail reset")
    with core.write() as tx:
        assert tx.throttle.delete_expired(NOON + HOUR, limit=1) == 1
        assert tx.throttle.count_expired(NOON + HOUR) == 1
