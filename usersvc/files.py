"""Files that survive a power failure."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a new name in this folder durable; where folders cannot be opened (Windows), nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
