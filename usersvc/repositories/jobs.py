"""When each periodic job ran; several workers claim a slot here, and one gets it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from usersvc.db.models import jobs
from usersvc.db.types import insert_if_absent

_WORKER = "worker"
_BETWEEN_BEATS = timedelta(seconds=30)


@dataclass(frozen=True)
class Job:
    name: str
    last_slot: datetime | None
    finished_at: datetime | None
    counts: dict[str, Any]


class Jobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_name(self, name: str) -> Job | None:
        columns = [jobs.c[field] for field in Job.__dataclass_fields__]
        row = self._connection.execute(select(*columns).where(jobs.c.name == name)).first()
        return Job(*row) if row else None

    def beat(self, *, at: datetime) -> None:
        """A worker lives. Told at every mail, written every half minute."""
        self._ensure(_WORKER)
        last = jobs.c.finished_at
        # What lies ahead was written by a clock that was wrong.
        stale = or_(last.is_(None), last <= at - _BETWEEN_BEATS, last > at + _BETWEEN_BEATS)
        statement = update(jobs).where(jobs.c.name == _WORKER, stale).values(finished_at=at)
        self._connection.execute(statement)

    def last_beat(self) -> datetime | None:
        """When a worker, whichever, was seen last."""
        worker = self.by_name(_WORKER)
        return worker.finished_at if worker else None

    def latest(self) -> datetime | None:
        return self._connection.execute(select(func.max(jobs.c.finished_at))).scalar()

    def claim_slot(self, name: str, slot: datetime) -> bool:
        """Whether this run of the job is ours: nobody claimed this slot or a later one before.

        A slot of more than a day later was claimed by a clock that was wrong, and is forgotten.
        """
        self._ensure(name)
        statement = update(jobs).where(jobs.c.name == name, _is_claimable(slot)).values(last_slot=slot)
        return self._connection.execute(statement).rowcount == 1

    def skip_missed(self, *, at: datetime) -> None:
        """What has run before runs next at its next slot: none of those that passed is made up for."""
        missed = jobs.c.last_slot.is_not(None), jobs.c.last_slot < at
        self._connection.execute(update(jobs).where(*missed).values(last_slot=at))

    def finish(self, name: str, *, at: datetime, counts: dict[str, int]) -> None:
        self._ensure(name)
        self._connection.execute(
            update(jobs).where(jobs.c.name == name).values(finished_at=at, counts=counts)
        )

    def _ensure(self, name: str) -> None:
        never: dict[str, Any] = {"name": name, "last_slot": None, "finished_at": None, "counts": {}}
        insert_if_absent(self._connection, jobs, never, on=["name"])


def _is_claimable(slot: datetime) -> ColumnElement[bool]:
    last = jobs.c.last_slot
    return or_(last.is_(None), last < slot, last > slot + timedelta(days=1))
