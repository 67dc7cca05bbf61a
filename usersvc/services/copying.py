"""Copying: everything from one database into another, empty one, and the proof that it arrived."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table

from usersvc.core import Core, retried
from usersvc.db.schema import mark_finished, mark_of_copy
from usersvc.errors import CopyDiffers, CopyUnfinished, NoDatabase, RowRefused
from usersvc.repositories.tables import ALL, Key, key_of
from usersvc.services import keys, schema
from usersvc.services.actor import Actor

_BATCH = 2000
_LOG_BYTES = 64 * 1024 * 1024

# Hears how many rows were copied, or read for the proof.
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Plan:
    mark: str
    """What tells the unfinished copy from every other database."""
    rows: int
    done: int
    """Rows that a copy which was broken off has brought over already."""


@dataclass(frozen=True)
class CopiedTable:
    name: str
    rows: int
    digest: str
    """Of all values, the same on every database: the sum of the SHA-256 of each row, modulo 2^256."""


def plan(source: Core, target: Core) -> Plan:
    """What would be copied. Changes nothing, makes nothing.

    Raises what forbids it: NoDatabase, SchemaOutdated, SchemaTooNew and CopyUnfinished of the source,
    DatabaseNotEmpty and SchemaTooNew of the target, SettingsError for another secret key than the source's.
    """
    schema.require_current(source)
    if not keys.check_ring(source):
        raise NoDatabase(f"Nothing was ever kept in {source.database.address}.")
    mark = mark_of_copy(_fingerprint(source))
    is_begun = _is_begun(target, mark)
    return Plan(
        mark=mark,
        rows=sum(_count(source, table) for table in ALL),
        done=sum(_count(target, table) for table in ALL) if is_begun else 0,
    )


def copy(
    source: Core,
    target: Core,
    *,
    plan: Plan,
    actor: Actor,
    copied: Progress = lambda rows: None,
    verified: Progress = lambda rows: None,
) -> list[CopiedTable]:
    """Copy into a target that `migration.prepare_copy` made ready, then compare both, and release it.

    The source is only read, and has to stay as it is: nobody may serve from it. Batches are transactions of
    their own; one that is killed goes on where it was when it is called again. Needs no more memory for more
    rows. Raises CopyDiffers, RowRefused, SettingsError where the secret key does not open the copied keys:
    the target then keeps what it has, and stays marked as unfinished.
    """
    if not _is_begun(target, plan.mark):
        raise CopyUnfinished("The database to copy into was not made ready.")
    for table in ALL:
        _copy_table(source, target, table, copied)
    tables = _verify(source, target, verified)
    keys.check_ring(target)
    _finish(target, plan.mark, actor, rows={table.name: table.rows for table in tables})
    return tables


def _fingerprint(core: Core) -> str:
    with core.read() as tx:
        return tx.keys.fingerprint() or ""


def _is_begun(core: Core, mark: str) -> bool:
    if not core.database.exists():
        return False
    with core.read() as tx:
        return schema.is_begun(tx, mark)


def _count(core: Core, table: Table) -> int:
    with core.read() as tx:
        return tx.tables.count(table)


def _copy_table(source: Core, target: Core, table: Table, copied: Progress) -> None:
    """Rows go over in the order of the source's keys: as many as are there are the first of them."""
    done = _count(target, table)
    last = _key_at(source, table, done) if done else None
    if done and last is None:
        raise _differs([f"{table.name} has fewer rows than were copied"])
    for rows in _batches(source, table, last):
        _insert(target, table, rows)
        target.database.checkpoint(above_bytes=_LOG_BYTES)
        copied(len(rows))


def _key_at(core: Core, table: Table, number: int) -> Key | None:
    with core.read() as tx:
        return tx.tables.key_at(table, number)


def _batches(core: Core, table: Table, last: Key | None = None) -> Iterator[list[Row[Any]]]:
    while rows := _batch(core, table, last):
        yield rows
        last = key_of(table, rows[-1])


def _batch(core: Core, table: Table, last: Key | None) -> list[Row[Any]]:
    with core.read() as tx:
        return tx.tables.after(table, last, limit=_BATCH)


def _insert(core: Core, table: Table, rows: list[Row[Any]]) -> None:
    """One by one where a batch is refused, so that the error names the row that is."""
    try:
        _insert_batch(core, table, rows)
    except RowRefused:
        if len(rows) == 1:
            raise
        for row in rows:
            _insert_batch(core, table, [row])


@retried
def _insert_batch(core: Core, table: Table, rows: list[Row[Any]]) -> None:
    with core.write(wait=60) as tx:
        tx.tables.insert(table, rows)


def _verify(source: Core, target: Core, verified: Progress) -> list[CopiedTable]:
    """Raises CopyDiffers, which names every table that is not the same."""
    # The source last: what was changed in it up to then is seen.
    there = [_look(target, table, verified) for table in ALL]
    here = [_look(source, table, verified) for table in ALL]
    if here != there:
        pairs = zip(here, there, strict=True)
        raise _differs([_difference(one, other) for one, other in pairs if one != other])
    return there


def _difference(one: CopiedTable, other: CopiedTable) -> str:
    if one.rows != other.rows:
        return f"{one.name} has {one.rows} rows, its copy {other.rows}"
    return f"{one.name} has as many rows as its copy, but other values in them"


def _look(core: Core, table: Table, verified: Progress) -> CopiedTable:
    count = total = 0
    for rows in _batches(core, table):
        count += len(rows)
        # A sum, since text that is a key may be in another order on the other database.
        total += sum(_number(row) for row in rows)
        verified(len(rows))
    return CopiedTable(table.name, count, f"{total % 2**256:064x}")


def _number(row: Row[Any]) -> int:
    text = json.dumps(list(row), default=_plain, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def _plain(value: object) -> str:
    match value:
        case UUID():
            return value.hex
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat(timespec="microseconds")
    raise TypeError(f"{type(value).__name__} has no form that is the same on every database")


def _differs(found: list[str]) -> CopyDiffers:
    return CopyDiffers(
        f"{'; '.join(found)}: one of the two was changed meanwhile. The copy stays unfinished, and nothing "
        "serves from it. Stop every `usersvc serve` and `usersvc worker`, empty the database to copy into, "
        "and copy again."
    )


@retried
def _finish(core: Core, mark: str, actor: Actor, *, rows: dict[str, int]) -> None:
    with core.write(wait=60) as tx:
        if not mark_finished(tx.connection, mark):
            raise CopyDiffers("The copy was finished or replaced by somebody else meanwhile.")
        tx.audit(actor, "database.copied", rows=rows)
