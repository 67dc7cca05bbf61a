"""Files that survive a power failure, folders that are nobody else's, and whose they are."""

import os
import sys
from pathlib import Path

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
