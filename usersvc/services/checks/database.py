"""The database: there, whole, of this version, and taking writes."""

import contextlib
import time
from pathlib import Path

from usersvc.core import Core
from usersvc.db import integrity
from usersvc.db.schema import Schema
from usersvc.files import other_owner
from usersvc.services import health, schema
from usersvc.services.actor import Actor
from usersvc.services.checks.finding import Verdict, failed, ok, size, warning

RESTORE = "Stop usersvc, keep a copy of the file, and restore it from a backup."
_INTEGRITY_SECONDS = 30
# Far above where a purge empties it: something keeps it from being emptied.
_LONG_LOG = 256 * 2**20


def there(core: Core) -> Verdict:
    return _file(core, core.database.path) if core.database.path else _server(core)


def _server(core: Core) -> Verdict:
    began = time.monotonic()
    core.database.exists()
    took = time.monotonic() - began
    if core.database.may_lose_commits():
        return warning(
            f"{core.database.address} has synchronous_commit off: a crash of it loses the last writes",
            "Set it on: it stands in postgresql.conf, at the database, at the role, or in database.url.",
        )
    return ok(f"{core.database.address} answered in {took * 1000:.0f} ms")


def _file(core: Core, path: Path) -> Verdict:
    if not path.exists():
        return failed(
            f"there is no database at {path}",
            "Wrong folder or settings file? Restore it from a backup, or make one with `usersvc migrate`.",
        )
    if owner := _of_another(path):
        return failed(owner, f"Give it and its neighbours to the owner of {core.settings.data_dir}.")
    if path.stat().st_size == 0:
        return failed(f"{path} is empty", "Restore it from a backup; or delete it, to begin anew.")
    schema.look(core)
    if core.database.log_bytes > _LONG_LOG:
        return warning(
            f"its write-ahead log grew to {size(core.database.log_bytes)}",
            "`usersvc purge-tokens` empties it; if it does not, a program holds the file open: restart it.",
        )
    return ok(f"{path} ({size(path.stat().st_size + core.database.log_bytes)})")


def _of_another(path: Path) -> str | None:
    """SQLite run as root leaves such files."""
    for suffix in ("", "-wal", "-shm"):
        each = path.with_name(path.name + suffix)
        # The last process to close the database deletes these two.
        with contextlib.suppress(FileNotFoundError):
            if owner := other_owner(each):
                return f"{each} belongs to {owner}"
    return None


def is_whole(core: Core) -> Verdict:
    if not core.database.path:
        return ok("looked after by PostgreSQL itself")
    with core.read() as tx:
        problems = integrity.problems(tx.connection, seconds=_INTEGRITY_SECONDS)
    if problems is None:
        return warning(
            f"too large to check within {_INTEGRITY_SECONDS} s",
            f'Run `sqlite3 {core.database.path} "PRAGMA integrity_check"` when there is time.',
        )
    if problems:
        return failed(f"damaged: {problems[0].splitlines()[-1]}", RESTORE)
    return ok("tables and indexes are whole")


def schema_is_current(core: Core) -> Verdict:
    match schema.look(core):
        case Schema.CURRENT:
            return ok("current")
        case Schema.TOO_NEW:
            return failed("made by a newer usersvc", "Install that version, or restore an older backup.")
        case Schema.OUTDATED:
            return failed("older than this usersvc", "Make a backup, then run `usersvc migrate`.")
        case Schema.UNFINISHED:
            return failed("an unfinished copy", "Run the same `usersvc copy-database` again.")
        case Schema.BACKUP:
            return failed("a backup that was put in place by hand", "Run `usersvc after-restore`.")
        case Schema.ABSENT:
            return failed(f"{core.database.address} has no tables of usersvc", "Run `usersvc migrate`.")


def takes_writes(core: Core) -> Verdict:
    """As /readyz does it."""
    began = time.monotonic()
    health.check_ready(core, actor=Actor.job("doctor"))
    took = time.monotonic() - began
    return ok(f"a write took {took * 1000:.0f} ms")
