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
    if not path.exists():
        return None
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
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError([f"{path}: the secret key cannot be written there: {error.strerror}"]) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_random() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails where another process was first.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _random() -> str:
    """One that cannot be taken for a placeholder, which a few in a million could."""
    while secret_key_problem(text := secrets.token_urlsafe(48)):
        pass
    return text
