"""Whether this process can serve, and how the whole instance fares."""

from dataclasses import dataclass
from datetime import datetime

from usersvc.core import Core, retried
from usersvc.services import maintenance, schema
from usersvc.services.actor import Actor

_PROBE = "readiness probe"


@dataclass(frozen=True)
class Vitals:
    """What the database tells of the workers, whichever machine they run on."""

    at: datetime
    mails: dict[str, int]
    """Rows of the outbox by status."""
    mail_waiting_since: datetime | None
    """When the oldest mail that still has to go out was written."""
    mail_overdue_since: datetime | None
    """Since when a mail lies there that is due and that no worker has taken."""
    deliveries: dict[str, int]
    """Deliveries to webhooks by status."""
    delivery_waiting_since: datetime | None
    """When the oldest delivery that still has to go out was written."""
    delivery_overdue_since: datetime | None
    """Since when a delivery lies there that is due and that no worker has taken."""
    worker_seen_at: datetime | None
    purged_at: datetime | None
    purged: dict[str, int]
    """Rows that the last purge deleted, by kind."""


@retried
def check_ready(core: Core, *, actor: Actor) -> None:
    """Write to the database for real. Raises what is in the way; `actor` may be anybody."""
    schema.require_current(core)
    with core.write() as tx:
        tx.jobs.finish(_PROBE, at=tx.now, counts={})


@retried
def beat(core: Core) -> None:
    """A worker lives."""
    with core.write() as tx:
        tx.jobs.beat(at=tx.now)


def vitals(core: Core) -> Vitals:
    with core.read() as tx:
        purge = tx.jobs.by_name(maintenance.JOB)
        return Vitals(
            at=tx.now,
            mails=tx.outbox.count_by_status(),
            mail_waiting_since=tx.outbox.waiting_since(),
            mail_overdue_since=tx.outbox.overdue_since(tx.now),
            deliveries=tx.deliveries.count_by_status(),
            delivery_waiting_since=tx.deliveries.waiting_since(),
            delivery_overdue_since=tx.deliveries.overdue_since(tx.now),
            worker_seen_at=tx.jobs.last_beat(),
            purged_at=purge.finished_at if purge else None,
            purged=purge.counts if purge else {},
        )
