"""Purging: what has served its time is deleted, in small batches, by a job or by hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from usersvc import logs
from usersvc.core import Core, Tx, retried
from usersvc.mail.transports import FileTransport
from usersvc.services import _events, _keys, deletion
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event

JOB = "purge_expired"
BATCH = 200
# Between two batches others get to write, for as long as the batch took and this long at least.
PAUSE_SECONDS = 0.02
# For a turn, or for what others hold. Nobody waits for a purge, so that it may take longer than a request: on
# PostgreSQL a statement of it is not cut off, which one without statistics to plan by once was.
PATIENCE_SECONDS = 10.0
# Deleting writes each page it touches into the write-ahead log: emptied in between, it stays about so small.
LOG_BYTES = 8 * 1024 * 1024

_log = logs.get("usersvc.maintenance")


@dataclass(frozen=True)
class _Purge:
    """One kind of rows: how many are due, and one batch of them deleted."""

    kind: str
    count: Callable[[Tx], int]
    delete: Callable[[Tx], int]


def purge(
    core: Core,
    *,
    actor: Actor,
    dry_run: bool = False,
    progress: Callable[[str, int], None] = lambda kind, rows: None,
) -> dict[str, int]:
    """Delete what expired; the rows deleted (with `dry_run`: that would be) per kind.

    Every batch is a transaction of its own, so that a purge that is stopped has done what it said.
    `progress` hears of every batch.
    """
    counts = {}
    for kind in _kinds(core, actor):
        counts[kind.kind] = _count(core, kind) if dry_run else _delete(core, kind, progress)
    counts["deleted_accounts"] = _delete_accounts(core, actor, progress, dry_run=dry_run)
    counts["mail_files"] = _purge_mail_files(core, dry_run=dry_run)
    if not dry_run:
        _note(core, actor, counts)
        if any(counts.values()):
            _log.info("purged", what=", ".join(f"{kind} {rows}" for kind, rows in counts.items() if rows))
    return counts


def purge_slot(core: Core, slot: datetime, *, actor: Actor) -> dict[str, int] | None:
    """The purge of one slot of the schedule; None where another worker has it or had it."""
    return purge(core, actor=actor) if _claim_slot(core, slot) else None


@retried
def _claim_slot(core: Core, slot: datetime) -> bool:
    with core.write() as tx:
        return tx.jobs.claim_slot(JOB, slot)


@retried
def _note(core: Core, actor: Actor, counts: dict[str, int]) -> None:
    with core.write() as tx:
        tx.jobs.finish(JOB, at=tx.now, counts=counts)
        tx.audit(actor, "data.purged", counts=counts)


def last_slot(core: Core) -> datetime | None:
    """The slot that was purged last, by any worker."""
    with core.read() as tx:
        job = tx.jobs.by_name(JOB)
    return job.last_slot if job else None


def _kinds(core: Core, actor: Actor) -> list[_Purge]:
    keep = core.settings.retention
    now = core.clock.now()
    pending, sessions, outbox, audit = (
        now - timedelta(days=days)
        for days in (keep.pending_days, keep.sessions_days, keep.outbox_days, keep.audit_days)
    )
    networks = now - timedelta(days=core.settings.throttle.known_network_days)
    return [
        _Purge(
            "links",
            lambda tx: tx.link_tokens.count_done_before(now),
            lambda tx: tx.link_tokens.delete_done_before(now, limit=BATCH),
        ),
        _Purge(
            "sessions",
            lambda tx: tx.sessions.count_done_before(sessions),
            lambda tx: tx.sessions.delete_done_before(sessions, limit=BATCH),
        ),
        # Before the accounts, whose deletion takes their mails along.
        _Purge(
            "mails",
            lambda tx: tx.outbox.count_done_before(outbox),
            lambda tx: tx.outbox.delete_done_before(outbox, limit=BATCH),
        ),
        _Purge(
            "webhook_deliveries",
            lambda tx: tx.deliveries.count_done_before(outbox),
            lambda tx: tx.deliveries.delete_done_before(outbox, limit=BATCH),
        ),
        _Purge(
            "pending_accounts",
            lambda tx: tx.users.count_abandoned(pending, at=now),
            lambda tx: _delete_abandoned(tx, actor, pending, now),
        ),
        _Purge(
            "counters",
            lambda tx: tx.throttle.count_expired(now),
            lambda tx: tx.throttle.delete_expired(now, limit=BATCH),
        ),
        _Purge(
            "revoked_tokens",
            lambda tx: tx.services.count_revoked_before(now),
            lambda tx: tx.services.delete_revoked_before(now, limit=BATCH),
        ),
        _Purge(
            "known_networks",
            lambda tx: tx.known_networks.count_before(networks),
            lambda tx: tx.known_networks.delete_before(networks, limit=BATCH),
        ),
        _Purge(
            "audit_entries",
            lambda tx: tx.audit_entries.count_before(audit),
            lambda tx: _delete_audit_entries(tx, actor, audit),
        ),
        # After the sessions and links that they verify.
        _Purge("keys", lambda tx: len(_keys.dead(tx)), lambda tx: _delete_keys(tx, actor)),
    ]


def _delete_abandoned(tx: Tx, actor: Actor, before: datetime, now: datetime) -> int:
    deleted = tx.users.delete_abandoned(before, at=now, limit=BATCH)
    for user_id in deleted:
        tx.audit(actor, "user.purged", target=user_id)
    _events.tell(tx, Event.DELETED, *deleted)
    return len(deleted)


def _delete_audit_entries(tx: Tx, actor: Actor, before: datetime) -> int:
    """With an entry for each batch: what is left out of the audit stands in it."""
    deleted = tx.audit_entries.delete_before(before, limit=BATCH)
    if deleted:
        tx.audit(actor, "audit.purged", entries=deleted, before=before)
    return deleted


def _delete_keys(tx: Tx, actor: Actor) -> int:
    dead = _keys.dead(tx)
    for kid in dead:
        tx.keys.delete(kid)
        tx.audit(actor, "key.deleted", kid=kid)
    return len(dead)


def _count(core: Core, kind: _Purge) -> int:
    with core.read() as tx:
        return kind.count(tx)


def _delete(core: Core, kind: _Purge, progress: Callable[[str, int], None]) -> int:
    total = 0
    while True:
        begun = time.monotonic()
        deleted = _delete_batch(core, kind)
        total += deleted
        progress(kind.kind, deleted)
        if deleted < BATCH:
            return total
        time.sleep(max(PAUSE_SECONDS, time.monotonic() - begun))
        core.database.checkpoint(above_bytes=LOG_BYTES)


@retried
def _delete_batch(core: Core, kind: _Purge) -> int:
    with core.write(wait=PATIENCE_SECONDS) as tx:
        return kind.delete(tx)


def _delete_accounts(core: Core, actor: Actor, progress: Callable[[str, int], None], *, dry_run: bool) -> int:
    """Those whose owners asked for it, when their time is over."""
    if dry_run:
        return deletion.count_due(core)
    return deletion.carry_out_due(core, actor=actor, progress=lambda rows: progress("deleted_accounts", rows))


def _purge_mail_files(core: Core, *, dry_run: bool) -> int:
    if not isinstance(core.transport, FileTransport):
        return 0
    before = core.clock.now() - timedelta(days=core.settings.retention.outbox_days)
    return core.transport.purge(before.timestamp(), dry_run=dry_run)
