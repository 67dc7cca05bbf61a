"""The secret key's text: from the settings, from a file, or made once beside the database."""

import contextlib
import os
import secrets
from pathlib import Path

from usersvc.files import sync_folder
from usersvc.setting_types import open_to_others, secret_key_problem
from usersvc.settings import Settings, SettingsError


def find(settings: Settings) -> str | None:
    """The secret key, or None where none is set and none was made yet.

    Raises SettingsError for a file that others can read or that holds no usable secret.
    """
    if text := settings.server.secret_key.get_secret_value():
        return text
    path = settings.secret_key_path
    return read(path) if path.exists() else None


def find_next(settings: Settings, check: bytes) -> str | None:
    """The secret key of this check value, where a rotation was broken off before it took the file's place."""
    path = _next_to(settings.secret_key_path, check)
    return read(path) if path.exists() and not settings.server.secret_key.get_secret_value() else None


def read(path: Path) -> str:
    """Raises SettingsError for a file that others can read or that holds no usable secret."""
    if not path.is_file():
        raise SettingsError([f"{path}: the secret key must be an ordinary file"])
    if open_to_others(path, reading=True):
        raise SettingsError([f"{path}: others can read the secret key: chmod 600 it"])
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: the secret key cannot be read: {error}"]) from None
    if problem := secret_key_problem(text):
        raise SettingsError([f"{path}: {problem}"])
    return text


def make(path: Path) -> None:
    """Write a random secret key, readable by its owner alone, whole or not at all, never over another."""
    draft = _drafted(path, random_key())
    try:
        # A link, unlike a rename, fails where another process was first.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def write_next(path: Path, text: str, check: bytes) -> None:
    """Put it beside the file, to take its place once the database knows it.

    Under a name of its own, so that of two rotations none takes the other's for its own. Raises SettingsError
    where the file cannot be replaced, as one that is mounted by itself: once the database knows the new one,
    it would be too late.
    """
    _replace(path, read(path))
    # What broken-off rotations left; a copy that somebody made has another name.
    for name in (_next_to(path, b"").name, f".{path.name}."):
        for left in path.parent.glob(name + "[0-9a-f]" * 16):
            left.unlink()
    _replace(_next_to(path, check), text)
    sync_folder(path.parent)


def take_next(path: Path, check: bytes) -> None:
    """Let what `write_next` put there take the place of the file."""
    with contextlib.suppress(FileNotFoundError):  # Another process was first.
        os.replace(_next_to(path, check), path)
    sync_folder(path.parent)


def _next_to(path: Path, check: bytes) -> Path:
    return path.with_name(f"{path.name}.next-{check.hex()[:16]}")


def _replace(path: Path, text: str) -> None:
    draft = _drafted(path, text)
    try:
        os.replace(draft, path)
    except OSError as error:
        draft.unlink()
        raise SettingsError([f"{path}: the secret key cannot be replaced: {error.strerror}"]) from None


def _drafted(path: Path, text: str) -> Path:
    """A file beside `path` with this secret, on the disk."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError([f"{path}: the secret key cannot be written there: {error.strerror}"]) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        draft.unlink()
        raise SettingsError([f"{path}: the secret key cannot be written there: {error.strerror}"]) from None
    return draft


def random_key() -> str:
    """One that cannot be taken for a placeholder, which a few in a million could."""
    while secret_key_problem(text := secrets.token_urlsafe(48)):
        pass
    return text
