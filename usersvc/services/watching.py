"""What should happen by itself and does not, told in the log of those who serve."""

from datetime import datetime, timedelta

from usersvc import logs
from usersvc.core import Core, retried
from usersvc.services.checks import workers
from usersvc.services.checks.finding import State

JOB = "watch"
PERIOD = timedelta(minutes=5)

_log = logs.get("usersvc.watching")


@retried
def warn(core: Core) -> None:
    """A line for a worker that is not seen and for mail that is overdue; one in each period, whoever asks."""
    with core.write() as tx:
        if not tx.jobs.claim_slot(JOB, _begun(tx.now)):
            return
    for name, look in (("worker", workers.worker), ("outbox", workers.outbox)):
        verdict = look(core)
        if verdict.state is State.FAILED:
            _log.warning(name, found=verdict.found, remedy=verdict.remedy)


def _begun(at: datetime) -> datetime:
    """When the period began that this is in."""
    return at - (at - datetime.min.replace(tzinfo=at.tzinfo)) % PERIOD
