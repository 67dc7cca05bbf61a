"""How the whole instance fares at this moment; a look costs the same whatever the database holds."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from usersvc.core import Core, Tx
from usersvc.services import authorization, schema
from usersvc.services.actor import Actor
from usersvc.services.key_rotation import USES

MOST = 100_000
"""Nothing is counted further. A count of this many says: or more."""

WINDOWS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
ACTIVITY = {
    "logins": "user.logged_in",
    "failed_logins": "user.login_failed",
    "registrations": "user.registered",
}


@dataclass(frozen=True)
class Queue:
    """Mails, or deliveries to webhooks."""

    by_status: dict[str, int]
    waiting_since: datetime | None
    """When the oldest that still has to go out was written."""
    overdue_since: datetime | None
    """Since when one lies there that is due and that no worker has taken."""


@dataclass(frozen=True)
class Storage:
    kind: str
    address: str
    schema: str
    bytes: int
    log_bytes: int
    """Of SQLite's write-ahead log."""


@dataclass(frozen=True)
class Status:
    at: datetime
    counted_to: int
    users: dict[str, int]
    sessions: int
    activity: dict[str, dict[str, int]]
    """What happened in the last minute, hour and day."""
    mails: Queue
    deliveries: Queue
    worker_seen_at: datetime | None
    next_rotation_at: datetime | None
    """Of keys; None where they are not rotated by themselves."""
    database: Storage


def look(core: Core, *, actor: Actor, most: int = MOST) -> Status:
    """Raises Forbidden."""
    authorization.require_operator(actor)
    found = schema.look(core)
    with core.read() as tx:
        tallies = tx.tallies
        return Status(
            at=tx.now,
            counted_to=most,
            users=tallies.users_by_status(most=most),
            sessions=tallies.live_sessions(tx.now, most=most),
            activity={
                name: {
                    window: tallies.entries(action, since=tx.now - span, most=most)
                    for window, span in WINDOWS.items()
                }
                for name, action in ACTIVITY.items()
            },
            mails=Queue(
                tallies.mails_by_status(most=most), tx.outbox.waiting_since(), tx.outbox.overdue_since(tx.now)
            ),
            deliveries=Queue(
                tallies.deliveries_by_status(most=most),
                tx.deliveries.waiting_since(),
                tx.deliveries.overdue_since(tx.now),
            ),
            worker_seen_at=tx.jobs.last_beat(),
            next_rotation_at=_next_rotation(core, tx),
            database=Storage(
                kind="SQLite" if core.database.path else "PostgreSQL",
                address=core.database.address,
                schema=found.value,
                bytes=tallies.database_bytes(),
                log_bytes=core.database.log_bytes,
            ),
        )


def _next_rotation(core: Core, tx: Tx) -> datetime | None:
    days = core.settings.tokens.rotation_days
    newest = [key.signs_from for key in tx.keys.all() if key.retired_at is None and key.use in USES]
    return min(newest) + timedelta(days=days) if days and newest else None
