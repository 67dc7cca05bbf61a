"""Ids: UUIDv7 that sort as the time does."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usersvc.security.secrets import first_id, new_id

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@given(TIMES)
def test_an_id_is_a_uuid_of_version_7_that_holds_its_millisecond(at: datetime) -> None:
    made = new_id(at)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert made.int >> 80 == milliseconds


@given(TIMES)
def test_ids_sort_by_their_time_to_the_microsecond(at: datetime) -> None:
    earlier, later = new_id(at), new_id(at + A_MOMENT)
    assert first_id(at) <= earlier < first_id(at + A_MOMENT) <= later
    assert str(earlier) < str(later)


def test_ids_of_one_time_grow() -> None:
    made = [new_id(NOON) for _ in range(1000)]
    assert made == sorted(set(made))
    assert made[-1] < first_id(NOON + A_MOMENT)


def test_ids_are_different_whichever_thread_makes_them() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: new_id(NOON), range(1000)))) == 1000


def test_an_id_does_not_tell_the_first_one_of_the_next_moment() -> None:
    gaps = {new_id(NOON + n * A_MOMENT).int & (2**62 - 1) for n in range(100)}
    assert len({gap >> 40 for gap in gaps}) > 90


def test_a_time_counts_in_any_zone() -> None:
    assert first_id(NOON.astimezone(timezone(timedelta(hours=5)))) == first_id(NOON)


@pytest.mark.parametrize(
    "at",
    [
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_nothing_was_made_before_1970(at: datetime) -> None:
    assert first_id(at) == first_id(datetime(1970, 1, 1, tzinfo=UTC)) < new_id(NOON)
