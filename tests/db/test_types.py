"""The column type of times, and the insert that may meet a row."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, StatementError

from usersvc.core import Core, Tx
from usersvc.db.models import jobs, keys
from usersvc.db.types import UtcDateTime, insert_if_absent

NOON = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
DELHI = timezone(timedelta(hours=5, minutes=30))


def _put(tx: Tx, name: str, at: datetime | None) -> None:
    tx.connection.execute(insert(jobs).values(name=name, last_slot=at, counts={}))


def _kept(core: Core, name: str) -> datetime | None:
    with core.read() as tx:
        kept: datetime | None = tx.connection.execute(
            select(jobs.c.last_slot).where(jobs.c.name == name)
        ).scalar_one()
        return kept


def test_a_time_comes_back_as_it_was_written_in_utc(core: Core) -> None:
    with core.write() as tx:
        _put(tx, "noon", NOON)
    kept = _kept(core, "noon")
    assert kept == NOON
    assert kept.tzinfo is UTC


def test_a_time_in_another_zone_is_kept_in_utc(core: Core) -> None:
    with core.write() as tx:
        _put(tx, "noon", NOON.astimezone(DELHI))
    kept = _kept(core, "noon")
    assert kept == NOON
    assert kept.utcoffset() == timedelta(0)
    assert kept.hour == 12


def test_a_time_without_a_zone_is_refused(core: Core) -> None:
    with pytest.raises(StatementError, match="a time without a zone"), core.write() as tx:
        _put(tx, "noon", NOON.replace(tzinfo=None))
    with pytest.raises(StatementError, match="a time without a zone"), core.read() as tx:
        tx.connection.execute(select(jobs).where(jobs.c.last_slot < NOON.replace(tzinfo=None)))


def test_no_time_is_no_time(core: Core) -> None:
    with core.write() as tx:
        _put(tx, "never", None)
    assert _kept(core, "never") is None


def test_times_sort_and_compare_whatever_zone_they_came_from(core: Core) -> None:
    second = timedelta(seconds=1)
    times = {
        "c": NOON,
        "a": (NOON - second).astimezone(DELHI),
        "d": (NOON + second).astimezone(timezone(-timedelta(hours=11))),
        "b": (NOON - second / 2).astimezone(DELHI),
        "e": NOON.replace(microsecond=0) + 10 * second,
    }
    with core.write() as tx:
        for name, at in times.items():
            _put(tx, name, at)
    with core.read() as tx:
        in_order = tx.connection.execute(select(jobs.c.name).order_by(jobs.c.last_slot)).scalars().all()
        until = select(jobs.c.name).where(jobs.c.last_slot <= NOON.astimezone(DELHI))
        until_noon = set(tx.connection.execute(until).scalars())
    assert in_order == ["a", "b", "c", "d", "e"]
    assert until_noon == {"a", "b", "c"}


def test_whole_seconds_sort_among_parts_of_seconds(core: Core) -> None:
    whole = NOON.replace(microsecond=0)
    with core.write() as tx:
        _put(tx, "after", whole + timedelta(microseconds=1))
        _put(tx, "whole", whole)
        _put(tx, "before", whole - timedelta(microseconds=1))
    with core.read() as tx:
        in_order = tx.connection.execute(select(jobs.c.name).order_by(jobs.c.last_slot)).scalars().all()
    assert in_order == ["before", "whole", "after"]


def test_on_postgresql_times_keep_their_zone() -> None:
    dialect = postgresql.dialect()
    kind = UtcDateTime()
    bound = kind.process_bind_param(NOON.astimezone(DELHI), dialect)
    assert bound == NOON
    assert bound.tzinfo
    read = kind.process_result_value(NOON.astimezone(DELHI), dialect)
    assert read == NOON
    assert read.utcoffset() == timedelta(0)


def test_a_row_is_inserted_where_none_stands(core: Core) -> None:
    never = {"name": "purge", "last_slot": None, "finished_at": None, "counts": {"rows": 1}}
    with core.write() as tx:
        assert insert_if_absent(tx.connection, jobs, never, on=["name"])
        assert not insert_if_absent(tx.connection, jobs, never | {"counts": {"rows": 2}}, on=["name"])
    with core.read() as tx:
        assert tx.connection.execute(select(jobs.c.counts)).scalars().all() == [{"rows": 1}]


def test_another_constraint_than_the_one_named_still_speaks_up(core: Core) -> None:
    with core.read() as tx:
        row = dict(tx.connection.execute(select(keys).where(keys.c.use == "link")).mappings().one())
    with pytest.raises(IntegrityError), core.write() as tx:
        insert_if_absent(tx.connection, keys, row | {"kid": "another"}, on=["kid"])
    with pytest.raises(IntegrityError), core.write() as tx:
        insert_if_absent(tx.connection, keys, row | {"kid": "another", "use": "nothing"}, on=["kid"])
    with core.read() as tx:
        assert tx.connection.execute(text("SELECT count(*) FROM keys WHERE kid = 'another'")).scalar() == 0
