"""The clock and the disk under it all."""

import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path

from usersvc.core import Core
from usersvc.services.checks.finding import State, Verdict, failed, ok, size, warning

_TOLERANCE = timedelta(minutes=1)
_FULL_BYTES = 100 * 2**20
_SCARCE_BYTES, _SCARCE_SHARE = 2**30, 0.1
_FULL_FILES, _SCARCE_FILES = 100, 1000


def clock(core: Core) -> Verdict:
    """Against the newest time in the database; which of the two is wrong, nobody here can tell."""
    with core.read() as tx:
        now = tx.now
        times = [tx.jobs.latest(), tx.audit_entries.latest(), tx.keys.latest()]
    newest = max((at for at in times if at), default=now)
    if newest - now > _TOLERANCE:
        return failed(
            f"it is {now:%Y-%m-%d %H:%M:%S}Z here, but the database has seen {newest:%Y-%m-%d %H:%M:%S}Z",
            "Set the clock, by NTP. If it is right now, it was wrong then: jobs and limits pause until that "
            "time has come.",
        )
    return ok(f"{now:%Y-%m-%d %H:%M:%S}Z; the newest time in the database: {newest:%Y-%m-%d %H:%M:%S}Z")


def disk(core: Core) -> Verdict:
    """The worse of those under the data directory and the database, where they are two."""
    used = [core.settings.data_dir, *([core.database.path.parent] if core.database.path else [])]
    folders = {_nearest(folder) for folder in used}
    verdicts = [_space_of(folder) for folder in sorted(folders)]
    bad = [verdict for verdict in verdicts if verdict.remedy]
    return max(bad, key=lambda verdict: verdict.state is State.FAILED) if bad else verdicts[0]


def _nearest(path: Path) -> Path:
    """What is there of it."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _space_of(folder: Path) -> Verdict:
    usage = shutil.disk_usage(folder)
    return space(folder, total=usage.total, free=usage.free, files=_free_files(folder))


def _free_files(folder: Path) -> int | None:
    """None where the file system does not count them."""
    if sys.platform == "win32":
        return None
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None


def space(folder: Path, *, total: int, free: int, files: int | None) -> Verdict:
    """`free` bytes of `total`, and how many `files` can still be made."""
    remedy = f"Make room on the file system of {folder}: without it nothing can be written."
    left = f"{size(free)} of {size(total)} free at {folder}"
    if free < _FULL_BYTES:
        return failed(left, remedy)
    if files is not None and files < _FULL_FILES:
        return failed(f"room for {files} more files at {folder}", remedy)
    if free < _SCARCE_BYTES and free < total * _SCARCE_SHARE:
        return warning(left, remedy)
    if files is not None and files < _SCARCE_FILES:
        return warning(f"room for {files} more files at {folder}", remedy)
    return ok(left)
