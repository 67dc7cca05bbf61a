"""A purge of very many ended sessions: how long another writer waits, how long the log becomes."""

import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.filling import fill
from bench.finding import Finding, Run
from bench.service import Usersvc

_PAUSE_SECONDS = 0.01
# Longer than ended sessions are kept.
_ENDED_DAYS = 60


@dataclass(frozen=True)
class _Purged:
    waits: list[float]
    log_bytes: int
    seconds: float


def ask(run: Run) -> Finding:
    number = max(run.sizes)
    finding = Finding(f"Purge of {number:,} ended sessions", "ms")
    usersvc = Usersvc(run.folder)
    with usersvc.opened():
        fill(usersvc.database, number, ended_days=_ENDED_DAYS)
    environ = os.environ | usersvc.environ(1)
    command = [sys.executable, "-m", "usersvc", "purge-tokens"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as purging:
        found = _write_beside(usersvc.database, lambda: purging.poll() is None)
    if purging.returncode:
        raise RuntimeError(f"the purge failed: {purging.returncode}")
    finding.measured("longest wait of another writer", [max(found.waits) * 1000])
    finding.measured("its median wait", [statistics.median(found.waits) * 1000])
    finding.reaches("purge-wait", [max(found.waits) * 1000])
    finding.reaches("purge-log", [found.log_bytes / 2**20])
    finding.versions[usersvc.name] = usersvc.shown_versions()
    finding.notes.append(f"one purge of {found.seconds:.0f} s, {len(found.waits):,} writes beside it")
    return finding


def _write_beside(database: Path, goes_on: Callable[[], bool]) -> _Purged:
    """As another process does: a short transaction every few milliseconds."""
    log, waits, longest = database.with_name(f"{database.name}-wal"), [], 0
    began = time.monotonic()
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        while goes_on():
            due = time.monotonic()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE users SET updated_at = updated_at WHERE email_key = 'b0@example.org'")
            connection.execute("COMMIT")
            waits.append(time.monotonic() - due)
            longest = max(longest, log.stat().st_size)
            time.sleep(_PAUSE_SECONDS)
    return _Purged(waits, longest, time.monotonic() - began)
