"""Importing: many users at once out of a file, with the hashes that another program made of their passwords.

Batches are transactions of their own, and what each did is told in it: a file that was broken off goes on
where it was. Nobody is ever demoted, deactivated or given another address by a file.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime
from typing import BinaryIO

from usersvc.core import Core, retried
from usersvc.errors import ImportConflict, ImportInterfered
from usersvc.repositories.imports import Progress
from usersvc.services import _imports, authorization
from usersvc.services._imports import How, OnConflict, Outcome, Refusal
from usersvc.services.actor import Actor
from usersvc.services.imports.fields import Row, Rules, row_of
from usersvc.services.imports.mapping import FieldMap
from usersvc.services.imports.products import PRODUCTS, HashParameters, Refused
from usersvc.services.imports.reading import Counted, Record, records

__all__ = ["PRODUCTS", "Counted", "HashParameters", "OnConflict", "Options", "Plan", "Progress", "Refusal"]

_BATCH = 1000
_LOG_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 20

# Hears of each batch what was refused, before it is committed; a batch that is tried again is heard again.
Hear = Callable[[Sequence[Refusal]], object]
# Hears how far it came, after each batch.
Settled = Callable[[Progress], object]


@dataclass(frozen=True)
class Options:
    """What is asked for beside the file. Two imports of one file are the same where these are."""

    product: str = "usersvc"
    on_conflict: OnConflict = "skip"
    fields: tuple[tuple[str, str], ...] = ()
    """Fields of usersvc, and where in a record each is found."""
    parameters: HashParameters | None = field(default=None, repr=False)
    trust_addresses: bool = False
    """Whether the operator vouches for the addresses that the file does not call verified."""
    replace_passwords: bool = False
    """Whether a conflict that updates takes the place of a password too."""

    @property
    def field_map(self) -> FieldMap:
        """Raises InvalidImport."""
        return FieldMap(PRODUCTS[self.product], dict(self.fields), self.parameters)


@dataclass(frozen=True)
class Plan:
    """An import as it stands."""

    options: Options
    progress: Progress
    is_kept: bool
    """Whether how far it came is kept in the database; else it begins anew each time."""
    begins_anew: bool = False

    @property
    def finished_at(self) -> datetime | None:
        return self.progress.finished_at


def digest_of(file: BinaryIO, options: Options) -> bytes:
    """What tells this import from every other: all that is in the file, and the options."""
    found = hashlib.sha256(repr(astuple(options)).encode())
    while chunk := file.read(_CHUNK):
        found.update(chunk)
    return found.digest()


def digest_of_name(name: str, options: Options) -> bytes:
    """The same of a pipe, which can be read but once: by a name that the operator gives it."""
    return hashlib.sha256(repr((name, astuple(options))).encode()).digest()


def plan(core: Core, *, digest: bytes | None, options: Options, actor: Actor, again: bool = False) -> Plan:
    """Where the import stands; `again` has it begin anew. Changes nothing.

    Without a digest, how far it comes is kept nowhere. Raises Forbidden, InvalidImport.
    """
    authorization.require_operator(actor)
    options.field_map  # noqa: B018 - raises
    known = None
    if digest:
        with core.read() as tx:
            known = tx.imports.find(digest)
    if known and not again:
        return Plan(options, known, is_kept=True)
    now = core.clock.now()
    fresh = Progress(digest or b"", 0, 0, 0, 0, 0, 0, started_at=now, updated_at=now, finished_at=None)
    return Plan(options, fresh, is_kept=digest is not None, begins_anew=known is not None)


@dataclass(frozen=True)
class _Batch:
    records: int
    line: int
    rows: list[Row]
    refused: list[Refusal]


@dataclass(frozen=True)
class _Job:
    plan: Plan
    how: How
    hear: Hear
    dry_run: bool
    seen: set[int] = field(default_factory=set)
    """Of a dry run alone, which finds nothing in the database of what came before."""


def run(
    core: Core,
    file: Counted,
    *,
    plan: Plan,
    actor: Actor,
    dry_run: bool = False,
    hear: Hear = lambda refusals: None,
    settled: Settled = lambda progress: None,
) -> Progress:
    """Bring in what the plan has still to bring in. The file is read from its beginning, in constant memory.

    Whatever is raised, the batches before it stay, and the same plan made again goes on after them. A dry run
    does the work of each batch and undoes it; it remembers the addresses, to find those that come twice.
    Raises Forbidden, InvalidImport, ImportInterfered; ImportConflict where conflicts are to fail.
    """
    authorization.require_operator(actor)
    options = plan.options
    how = How(options.product, options.on_conflict, options.replace_passwords, actor)
    job = _Job(plan, how, hear, dry_run)
    progress = plan.progress
    for batch in _batches(core, file, plan):
        step = _try_batch if dry_run else _write_batch
        progress = step(core, job, progress, batch)
        core.database.checkpoint(above_bytes=_LOG_BYTES)
        settled(progress)
    return progress if dry_run else _finish(core, job, progress)


def _batches(core: Core, file: Counted, plan: Plan) -> Iterator[_Batch]:
    options = plan.options
    field_map = options.field_map
    rules = Rules(core.settings, options.product != "usersvc", options.trust_addresses)
    found = records(file, field_map.product)
    # What was settled before is read once more, and left.
    found = itertools.islice(found, plan.progress.records, None)
    while batch := list(itertools.islice(found, _BATCH)):
        yield _understood(core, batch, field_map, rules)


def _understood(core: Core, batch: list[Record], field_map: FieldMap, rules: Rules) -> _Batch:
    now = core.clock.now()
    rows, refused = [], []
    for record in batch:
        try:
            if record.values is None:
                raise Refused("", record.problem)
            rows.append(row_of(record.line, field_map.values(record.values), rules, now=now))
        except Refused as error:
            refused.append(Refusal(record.line, error.field, str(error)))
    return _Batch(len(batch), batch[-1].line, rows, refused)


class _Undone(Exception):
    """Ends a transaction that is not to be kept."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress


def _try_batch(core: Core, job: _Job, before: Progress, batch: _Batch) -> Progress:
    try:
        return _write_batch(core, job, before, batch)
    except _Undone as undone:
        return undone.progress


@retried
def _write_batch(core: Core, job: _Job, before: Progress, batch: _Batch) -> Progress:
    """The users of a batch, and in the same transaction how far the import came."""
    with core.write(wait=60) as tx:
        rows, twice = _sifted(batch.rows, job)
        outcome = _imports.bring_in(core, tx, rows, job.how)
        after = _after(before, batch, outcome, twice, job.how, at=tx.now)
        job.hear(sorted([*batch.refused, *outcome.refused]))
        if job.dry_run:
            job.seen.update(hash(row.email_key) for row in outcome.imported)
            raise _Undone(after)
        if job.plan.is_kept:
            if job.plan.begins_anew and before.records == 0:
                tx.imports.forget(after.digest)
            if not tx.imports.advance(after, before=before.records):
                raise ImportInterfered
    return after


def _sifted(rows: list[Row], job: _Job) -> tuple[list[Row], int]:
    """Without those that a dry run would have in already; how many these are. Raises ImportConflict."""
    fresh = [row for row in rows if hash(row.email_key) not in job.seen]
    if len(fresh) < len(rows) and job.how.on_conflict == "fail":
        [line, *_] = [row.line for row in rows if hash(row.email_key) in job.seen]
        raise ImportConflict(f"Line {line}: the address stands in the file before.")
    return fresh, len(rows) - len(fresh)


def _after(
    before: Progress, batch: _Batch, outcome: Outcome, twice: int, how: How, *, at: datetime
) -> Progress:
    updates = how.on_conflict == "update"
    return replace(
        before,
        records=before.records + batch.records,
        line=batch.line,
        imported=before.imported + len(outcome.imported),
        updated=before.updated + outcome.updated + (twice if updates else 0),
        skipped=before.skipped + outcome.skipped + (0 if updates else twice),
        refused=before.refused + len(batch.refused) + len(outcome.refused),
        updated_at=at,
    )


@retried
def _finish(core: Core, job: _Job, progress: Progress) -> Progress:
    with core.write(wait=60) as tx:
        done = replace(progress, updated_at=tx.now, finished_at=tx.now)
        if job.plan.is_kept and not tx.imports.advance(done, before=progress.records):
            raise ImportInterfered
        counts = {name: getattr(done, name) for name in ("imported", "updated", "skipped", "refused")}
        tx.audit(job.how.actor, "import.finished", source=job.how.source, **counts)
    return done
