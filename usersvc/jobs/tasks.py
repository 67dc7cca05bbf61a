"""The tasks: what wakes a worker, and what it does by the clock."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps

from huey.api import Huey, TaskWrapper, crontab

from usersvc import logs
from usersvc.core import Core
from usersvc.errors import DatabaseUnavailable, DomainError
from usersvc.services import delivery, health, key_rotation, maintenance, webhook_delivery
from usersvc.services.actor import Actor

_PURGER = Actor.job("purge_expired")
_ROTATOR = Actor.job("rotate_keys")
# How far back a missed slot of the schedule is looked for: by a worker that starts, and by one that runs.
_LOOK_BACK = timedelta(days=32)
_LATE = timedelta(hours=1)

_log = logs.get("usersvc.jobs")


@dataclass(frozen=True)
class Tasks:
    """Each puts its task into the queue; raises DatabaseUnavailable where that cannot be done."""

    deliver_outbox: TaskWrapper
    catch_up: TaskWrapper


def register(queue: Huey, core: Core, *, owner: str, stopping: Callable[[], bool] = lambda: False) -> Tasks:
    """Make the tasks known to this queue, working on this core; `owner` names the worker in leases."""

    @queue.task(name="deliver_webhooks")
    @_told
    def deliver_webhooks() -> None:
        webhook_delivery.deliver_due(core, owner=owner, stopping=stopping)
        hand_on_webhooks()

    def hand_on_webhooks() -> None:
        """To whichever thread has time, after the mails that wait for one."""
        if not stopping() and webhook_delivery.are_due(core):
            # The queue itself tells that it is away; the next minute finds them.
            with suppress(DatabaseUnavailable):
                deliver_webhooks()

    @queue.task(name="deliver_outbox")
    @_told
    def deliver_outbox() -> None:
        hand_on_webhooks()
        delivery.deliver_due(core, owner=owner, stopping=stopping)

    @queue.periodic_task(crontab(), name="sweep_outbox")
    @_told
    def sweep_outbox() -> None:
        health.beat(core)
        delivery.deliver_due(core, owner=owner, stopping=stopping)

    @queue.periodic_task(crontab(), name="sweep_webhooks")
    @_told
    def sweep_webhooks() -> None:
        webhook_delivery.deliver_due(core, owner=owner, stopping=stopping)

    schedule = _schedule(core)

    @queue.periodic_task(crontab(), name="purge_expired")
    @_told
    def purge_expired() -> None:
        _purge_due_slot(core, schedule, look_back=_LATE)

    @queue.task(name="catch_up")
    @_told
    def catch_up() -> None:
        health.beat(core)
        _purge_due_slot(core, schedule, look_back=_LOOK_BACK)

    return Tasks(deliver_outbox, catch_up)


def _told(task: Callable[[], None]) -> Callable[[], None]:
    """What cannot be done now is one line of the log: the next minute tries again."""

    @wraps(task)
    def run() -> None:
        try:
            task()
        except DomainError as error:
            _log.warning("task put off", task=task.__name__, reason=str(error))

    return run


def _schedule(core: Core) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = core.settings.retention.purge_schedule.split()
    matches: Callable[[datetime], bool] = crontab(minute, hour, day, month, weekday, strict=True)
    return matches


def _purge_due_slot(core: Core, schedule: Callable[[datetime], bool], *, look_back: timedelta) -> None:
    """Purge for the latest slot that nobody has purged for: Huey itself makes up for no missed run."""
    due = latest_slot(schedule, core.clock.now(), look_back=look_back)
    if due is None or due == maintenance.last_slot(core):
        return
    if maintenance.purge_slot(core, due, actor=_PURGER) is not None:
        key_rotation.rotate_due(core, actor=_ROTATOR)


def latest_slot(
    schedule: Callable[[datetime], bool], now: datetime, *, look_back: timedelta
) -> datetime | None:
    """The newest minute up to now that the schedule names; None where none is that recent."""
    slot = _minute(now)
    while slot > now - look_back:
        if schedule(slot):
            return slot
        slot -= timedelta(minutes=1)
    return None


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
