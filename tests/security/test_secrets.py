"""Ids: UUIDv7 that sort as the time does. Digests, as tables hold them."""

import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from functools import reduce
from itertools import pairwise
from operator import or_
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from usersvc.security.secrets import digest, first_id, keyed_digest, new_id, time_of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)
# A busy machine may take long for one example.
patient = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@patient
@given(TIMES)
def test_an_id_is_a_uuid_of_version_7_that_holds_its_millisecond(at: datetime) -> None:
    made = new_id(at)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert made.int >> 80 == milliseconds


@patient
@given(TIMES)
def test_ids_sort_by_their_time_to_the_microsecond(at: datetime) -> None:
    earlier, later = new_id(at), new_id(at + A_MOMENT)
    assert first_id(at) <= earlier < first_id(at + A_MOMENT) <= later
    assert time_of(earlier) == time_of(first_id(at)) == at
    assert str(earlier) < str(later)


def test_ids_of_one_time_grow() -> None:
    made = [new_id(NOON) for _ in range(1000)]
    assert made == sorted(set(made))
    assert made[-1] < first_id(NOON + A_MOMENT)


def test_ids_of_one_time_grow_when_chance_gives_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    made = [new_id(NOON) for _ in range(10)]
    assert made == sorted(set(made))


def test_ids_of_one_time_grow_by_small_steps_so_that_none_runs_into_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "urandom", lambda length: b"\xff" * length)
    made = [new_id(NOON + A_MOMENT).int for _ in range(1000)]
    assert {after - before for before, after in pairwise(made)} == {2**24}
    assert made[-1] < first_id(NOON + 2 * A_MOMENT).int


def test_ids_are_different_whichever_thread_makes_them() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: new_id(NOON), range(1000)))) == 1000


def test_an_id_does_not_tell_the_first_one_of_the_next_moment() -> None:
    gaps = {new_id(NOON + n * A_MOMENT).int & (2**62 - 1) for n in range(100)}
    assert len({gap >> 40 for gap in gaps}) > 90


def test_an_id_has_61_random_bits_and_one_left_over() -> None:
    chance = [new_id(NOON + n * A_MOMENT).int & (2**62 - 1) for n in range(100)]
    assert reduce(or_, chance) == 2**61 - 1


@pytest.mark.parametrize(
    ("at", "first"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), "00000000-0000-7000-8000-000000000000"),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "00000000-0000-7004-8000-000000000000"),
        (datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC), "017f22e2-79b0-7000-8000-000000000000"),
        (datetime(2022, 2, 22, 19, 22, 22, 999, tzinfo=UTC), "017f22e2-79b0-7ffb-8000-000000000000"),
    ],
)
def test_the_lowest_id_of_a_time_is_as_in_the_standard(at: datetime, first: str) -> None:
    assert first_id(at) == UUID(first)


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


def test_a_digest_is_the_sha_256_of_a_secret() -> None:
    """Another would make every link and session of an existing database unknown."""
    assert digest("caf\u00e9") == hashlib.sha256("caf\u00e9".encode()).digest()


def test_a_keyed_digest_is_the_hmac_of_its_parts_with_their_lengths() -> None:
    """Another would make every counter and link of an existing database unknown."""
    message = b"\0\0\0\x05caf\xc3\xa9" + b"\0\0\0\0" + b"\0\0\0\x01x"
    assert keyed_digest(b"key", "caf\u00e9", "", "x") == hmac.digest(b"key", message, "sha256")


def test_a_keyed_digest_knows_where_a_part_ends() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]
    assert len({keyed_digest(b"key", *one) for one in parts}) == len(parts)
