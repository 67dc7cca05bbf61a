"""Where the secret of something new is put: a file of its own, whole or not at all, never over another."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from usersvc.errors import SecretFileNotWritten
from usersvc.files import sync_folder
from usersvc.services.apply.declaration import AService, AWebhook, Declaration, secret_path

_ROOM = 512
"""Bytes, more than any secret needs."""


class Files:
    """Which secret files are there. Looked at before the database, where what is made meanwhile is found."""

    def __init__(self, declared: Declaration) -> None:
        entries = [*(declared.services or ()), *(declared.webhooks or ())]
        named = {entry.secret_file for entry in entries if entry.secret_file}
        self._taken = {file for file in named if os.path.lexists(secret_path(declared, file))}

    def is_taken(self, entry: AService | AWebhook) -> bool:
        return entry.secret_file in self._taken


@contextmanager
def reserved(path: Path | None, *, remedy: str) -> Iterator[Callable[[str], None]]:
    """Something that writes a secret to `path`; with None it does nothing.

    What can fail is done before: on entering there is a file of that size beside `path`, on the disk, which
    nobody else can read. It takes the name once it holds the secret. Raises SecretFileNotWritten, after
    the secret was made with `remedy` in it.
    """
    if path is None:
        yield lambda _: None
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _not_written(path, error, "") from None

    def write(secret: str) -> None:
        try:
            _fill(handle, secret.encode() + b"\n")
            # A link, unlike a rename, fails where there is a file meanwhile.
            os.link(draft, path)
            sync_folder(path.parent)
        except OSError as error:
            raise _not_written(path, error, remedy) from None

    try:
        try:
            _fill(handle, b"\n" * _ROOM)
        except OSError as error:
            raise _not_written(path, error, "") from None
        yield write
    finally:
        os.close(handle)
        draft.unlink(missing_ok=True)


def _fill(handle: int, content: bytes) -> None:
    os.lseek(handle, 0, os.SEEK_SET)
    if os.write(handle, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, len(content))
    os.fsync(handle)


def _not_written(path: Path, error: OSError, remedy: str) -> SecretFileNotWritten:
    return SecretFileNotWritten(f"No secret can be written to {path}: {error.strerror}.{remedy}")
