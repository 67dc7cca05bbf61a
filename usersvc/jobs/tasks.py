"""The tasks: what wakes a worker, and what it does by the clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from huey.api import Huey, TaskWrapper, crontab

from usersvc import logs
from usersvc.core import Core
from usersvc.services import delivery, health, maintenance
from usersvc.services.actor import Actor

_PURGER = Actor.job("purge_expired")
# How far back a missed slot of the schedule is looked for.
_LOOK_BACK = timedelta(days=32)

_log = logs.get("usersvc.jobs")


@dataclass(frozen=True)
class Tasks:
    """Each puts its task into the queue; raises DatabaseUnavailable where that cannot be done."""

    deliver_outbox: TaskWrapper
    catch_up: TaskWrapper


def register(queue: Huey, core: Core, *, owner: str, stopping: Callable[[], bool] = lambda: False) -> Tasks:
    """Make the tasks known to this queue, working on this core; `owner` names the worker in leases."""

    @queue.task(name="deliver_outbox")
    def deliver_outbox() -> None:
        delivery.deliver_due(core, owner=owner, stopping=stopping)

    @queue.periodic_task(crontab(), name="sweep_outbox")
    def sweep_outbox() -> None:
        health.beat(core)
        delivery.deliver_due(core, owner=owner, stopping=stopping)

    schedule = _schedule(core)

    @queue.periodic_task(schedule, name="purge_expired")
    def purge_expired() -> None:
        maintenance.purge_slot(core, _minute(core.clock.now()), actor=_PURGER)

    @queue.task(name="catch_up")
    def catch_up() -> None:
        health.beat(core)
        _purge_missed_slot(core, schedule)

    return Tasks(deliver_outbox, catch_up)


def _schedule(core: Core) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = core.settings.retention.purge_schedule.split()
    matches: Callable[[datetime], bool] = crontab(minute, hour, day, month, weekday, strict=True)
    return matches


def _purge_missed_slot(core: Core, schedule: Callable[[datetime], bool]) -> None:
    """Huey does not make up for runs that were missed while no worker ran."""
    due = latest_slot(schedule, core.clock.now())
    last = maintenance.last_slot(core)
    if due and due != last:
        maintenance.purge_slot(core, due, actor=_PURGER)


def latest_slot(schedule: Callable[[datetime], bool], now: datetime) -> datetime | None:
    """The newest minute up to now that the schedule names; None where the last month has none."""
    slot = _minute(now)
    while slot > now - _LOOK_BACK:
        if schedule(slot):
            return slot
        slot -= timedelta(minutes=1)
    return None


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
