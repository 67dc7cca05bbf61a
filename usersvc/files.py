"""Files that survive a power failure, folders that are nobody else's, and whose they are."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
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
