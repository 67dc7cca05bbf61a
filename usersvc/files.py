"""Files that survive a power failure, folders that are nobody else's, and whose they are."""

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from usersvc.errors import BackupRunning

if sys.platform != "win32":
    import fcntl
    import pwd


def sync_folder(folder: Path) -> None:
    """Make a new name in this folder durable; where folders cannot be opened (Windows), nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(folder: Path) -> None:
    """Make it where it is not there, with whatever is missing above it; nobody else may look into those."""
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def written_whole(path: Path, *, over: bool) -> Iterator[BinaryIO]:
    """A file that its owner alone can read: there, whole and on the disk, after the block, or not at all.

    Raises OSError; FileExistsError where there is one by then, unless it goes `over` that.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if over:
            os.replace(draft, path)
        else:
            os.link(draft, path)  # which, unlike a rename, fails where another file is
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def other_owner(path: Path) -> str | None:
    """The system user this path belongs to, where that is not the one of this process; never on Windows."""
    if sys.platform == "win32":
        return None
    owner = path.stat().st_uid
    return None if owner == os.geteuid() else user_name(owner)


def user_name(uid: int) -> str:
    if sys.platform == "win32":
        return str(uid)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextmanager
def made_whole(path: Path) -> Iterator[tuple[Path, int]]:
    """A draft beside `path`, empty and its owner's alone, that takes its place once the block has filled it.

    On the disk before it does, and gone where the block fails; what a killed process left is taken up by the
    next. With it comes a descriptor that holds it: as long as one is open, here or in a program that was
    handed it, nobody else drafts the same file. Raises BackupRunning where somebody does.
    """
    draft = path.with_name(f".{path.name}.part")
    handle = _held(draft)
    try:
        os.ftruncate(handle, 0)
        yield draft, handle
        os.fsync(handle)
        os.replace(draft, path)
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _held(draft: Path) -> int:
    """Raises BackupRunning where somebody else has it."""
    if sys.platform == "win32":
        return os.open(draft, os.O_RDWR | os.O_CREAT | os.O_BINARY, 0o600)
    while True:
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.fstat(handle).st_uid != os.geteuid():
            os.close(handle)
            raise PermissionError(errno.EPERM, "Another system user's file lies there", str(draft))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BackupRunning from None
        # Whoever had it may have put it in its place since it was opened here.
        if draft.exists() and draft.stat().st_ino == os.fstat(handle).st_ino:
            return handle
        os.close(handle)
