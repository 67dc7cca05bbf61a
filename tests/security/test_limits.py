"""The arithmetic of limits, without a database: windows, doubling pauses, failures in a row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from usersvc.security.limits import Counter, Escalating, InARow, PerWindow

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
# A busy machine may take long for one example.
patient = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LOGIN = Escalating(most=5, window=5 * MINUTE, pause=MINUTE, longest=15 * MINUTE)


def after(rule: Escalating | PerWindow, times: int, at: datetime = NOON) -> Counter:
    counter = Counter.new(at)
    for _ in range(times):
        assert rule.allowed_at(counter, at) is None
        counter = rule.counted(counter, at)
    return counter


def test_a40_the_pause_begins_with_the_last_attempt_that_is_allowed() -> None:
    counter = after(LOGIN, 5)
    assert LOGIN.allowed_at(counter, NOON) == NOON + MINUTE
    assert LOGIN.allowed_at(counter, NOON + MINUTE - SECOND) == NOON + MINUTE
    assert LOGIN.allowed_at(counter, NOON + MINUTE) is None


def test_the_pauses_double_up_to_the_longest_with_one_attempt_between_them() -> None:
    counter, at, pauses = after(LOGIN, 5), NOON, []
    for _ in range(6):
        blocked_until = LOGIN.allowed_at(counter, at)
        assert blocked_until
        pauses.append((blocked_until - at) // MINUTE)
        at = blocked_until
        counter = LOGIN.counted(counter, at)
    assert pauses == [1, 2, 4, 8, 15, 15]


def test_attempts_that_lie_further_apart_than_the_window_never_pause() -> None:
    counter, at = Counter.new(NOON), NOON
    for _ in range(50):
        assert LOGIN.allowed_at(counter, at) is None
        counter = LOGIN.counted(counter, at)
        at += 2 * MINUTE
    assert counter.level == 0


def test_pauses_are_forgotten_when_nothing_happens_any_more() -> None:
    counter = after(LOGIN, 5)
    begins_anew = counter.expires_at
    assert begins_anew == NOON + MINUTE + 20 * MINUTE
    assert LOGIN.counted(counter, begins_anew).count == 1
    assert LOGIN.counted(counter, begins_anew - SECOND).level == 2


def test_what_did_not_take_place_is_given_back_with_its_pause() -> None:
    counter = LOGIN.given_back(after(LOGIN, 5), NOON)
    assert LOGIN.allowed_at(counter, NOON) is None
    counter = LOGIN.counted(counter, NOON)
    assert LOGIN.allowed_at(counter, NOON) == NOON + MINUTE


def test_giving_back_what_was_cleared_meanwhile_changes_nothing() -> None:
    nothing = Counter.new(NOON)
    assert LOGIN.given_back(nothing, NOON) == nothing
    assert PerWindow(5, MINUTE).given_back(nothing, NOON).count == 0
    assert InARow(100, DAY).given_back(nothing, NOON).count == 0


@pytest.mark.parametrize("rule", [LOGIN, PerWindow(5, 5 * MINUTE)])
@patient
@given(gaps=st.lists(st.integers(0, 400), max_size=80))
def test_no_five_minutes_ever_see_more_than_the_most_twice(
    rule: Escalating | PerWindow, gaps: list[int]
) -> None:
    counter, at, taken = Counter.new(NOON), NOON, []
    for gap in gaps:
        at += gap * SECOND
        if rule.allowed_at(counter, at) is None:
            counter = rule.counted(counter, at)
            taken.append(at)
    for begin in taken:
        # A window that begins with the first may touch the next one.
        assert sum(begin <= at < begin + 5 * MINUTE for at in taken) <= 2 * 5


def test_a_window_that_is_full_says_when_it_is_over() -> None:
    rule = PerWindow(3, MINUTE)
    counter = after(rule, 3)
    assert rule.allowed_at(counter, NOON + 59 * SECOND) == NOON + MINUTE
    assert rule.allowed_at(counter, NOON + MINUTE) is None
    assert rule.allowed_at(rule.given_back(counter, NOON), NOON) is None


def test_a_counter_of_a_window_means_something_until_its_window_and_its_pause_are_over() -> None:
    rule = PerWindow(3, MINUTE, 50 * SECOND)
    once = rule.counted(Counter.new(NOON), NOON)
    assert once == Counter(NOON, 1, 0, NOON + 50 * SECOND, NOON + MINUTE)
    assert rule.counted(once, NOON + SECOND).expires_at == NOON + MINUTE
    later = rule.counted(once, NOON + 50 * SECOND)
    assert later.blocked_until == later.expires_at == NOON + 100 * SECOND
    long = PerWindow(3, SECOND, MINUTE)
    assert long.counted(Counter.new(NOON), NOON).expires_at == NOON + MINUTE


def test_a_counter_beyond_a_most_that_was_lowered_allows_no_more() -> None:
    assert PerWindow(3, MINUTE).allowed_at(after(PerWindow(5, MINUTE), 5), NOON) == NOON + MINUTE
    assert InARow(3, DAY).is_full(replace(Counter.new(NOON), count=5, expires_at=NOON + DAY), NOON)


def test_a_pause_stands_when_the_clock_is_corrected_by_no_more_than_its_length() -> None:
    rule = PerWindow(9, 60 * MINUTE, MINUTE)
    paused = rule.counted(Counter.new(NOON), NOON)
    assert rule.allowed_at(paused, NOON + SECOND) == NOON + MINUTE
    assert rule.allowed_at(paused, NOON - MINUTE) == NOON + MINUTE
    assert rule.allowed_at(paused, NOON - MINUTE - SECOND) is None
    longest = replace(Counter.new(NOON), count=9, level=9, blocked_until=NOON + 15 * MINUTE)
    assert LOGIN.allowed_at(longest, NOON) == NOON + 15 * MINUTE
    assert LOGIN.allowed_at(longest, NOON - SECOND) is None


def test_a_pause_that_is_over_stays_over() -> None:
    assert LOGIN.allowed_at(after(LOGIN, 5), NOON + 2 * MINUTE) is None
    rule = PerWindow(9, 60 * MINUTE, MINUTE)
    for late in (MINUTE, 2 * MINUTE):
        assert rule.allowed_at(rule.counted(Counter.new(NOON), NOON), NOON + late) is None


def test_a_window_begins_with_the_first_that_is_counted_in_it() -> None:
    for rule in (PerWindow(5, 5 * MINUTE), LOGIN):
        given_back = rule.given_back(after(rule, 1), NOON)
        assert rule.counted(given_back, NOON + MINUTE).window_started_at == NOON + MINUTE
        anew = rule.counted(after(rule, 3), NOON + 5 * MINUTE)
        assert (anew.window_started_at, anew.count) == (NOON + 5 * MINUTE, 1)


def test_pauses_begin_anew_when_they_are_forgotten_or_the_clock_is_set_far_back() -> None:
    paused = after(LOGIN, 5)
    for at in (paused.expires_at + SECOND, paused.expires_at - 40 * MINUTE, NOON - DAY):
        assert LOGIN.counted(paused, at).level == 0
    assert LOGIN.counted(paused, paused.expires_at - 40 * MINUTE + SECOND).level == 2


def test_failures_in_a_row_and_a_lock_are_forgotten_from_their_end_on() -> None:
    rule = InARow(2, DAY)
    full = replace(Counter.new(NOON), count=2, expires_at=NOON + DAY)
    assert rule.is_full(full, NOON + DAY - SECOND)
    locked = rule.locked(full, NOON)
    assert locked.expires_at == NOON + 3650 * DAY
    for counter in (full, locked):
        assert not rule.is_full(counter, counter.expires_at)
        for at in (counter.expires_at, counter.expires_at + SECOND):
            anew = rule.counted(counter, at)
            assert (anew.count, anew.level, anew.expires_at) == (1, 0, at + DAY)


def test_attempts_are_kept_for_a_window_and_the_longest_pause() -> None:
    assert LOGIN.counted(Counter.new(NOON), NOON).expires_at == NOON + 20 * MINUTE
    assert LOGIN.counted(after(LOGIN, 1), NOON + MINUTE).expires_at == NOON + 21 * MINUTE


def test_one_that_is_given_back_takes_one_pause_with_it() -> None:
    assert LOGIN.given_back(after(LOGIN, 1), NOON).level == 0
    assert LOGIN.given_back(after(LOGIN, 3), NOON).count == 2
    assert PerWindow(5, MINUTE).given_back(after(PerWindow(5, MINUTE), 3), NOON).count == 2
    assert InARow(5, DAY).given_back(replace(Counter.new(NOON), count=3), NOON).count == 2
    twice = LOGIN.counted(after(LOGIN, 5), NOON + MINUTE)
    assert (twice.level, LOGIN.given_back(twice, NOON + MINUTE).level) == (2, 1)


def test_a_clock_that_is_set_far_back_begins_anew() -> None:
    assert LOGIN.allowed_at(after(LOGIN, 5), NOON - DAY) is None
    assert PerWindow(3, MINUTE).allowed_at(after(PerWindow(3, MINUTE), 3), NOON - DAY) is None


def test_failures_in_a_row_are_counted_however_slowly_they_come() -> None:
    rule, counter, at = InARow(100, 30 * DAY), Counter.new(NOON), NOON
    for _ in range(100):
        assert not rule.is_full(counter, at)
        counter = rule.counted(counter, at)
        at += DAY
    assert rule.is_full(counter, at)
    assert not rule.is_full(counter, at + 30 * DAY)
    assert rule.is_full(rule.locked(counter, at), at + 400 * DAY)


def test_further_failures_leave_a_lock_as_it_is() -> None:
    rule = InARow(2, DAY)
    locked = rule.locked(rule.counted(rule.counted(Counter.new(NOON), NOON), NOON), NOON)
    again = rule.counted(locked, NOON + 2 * DAY)
    assert (again.level, again.expires_at) == (1, locked.expires_at)
