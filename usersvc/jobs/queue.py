"""Huey's queue out of the settings: its own SQLite file, JSON messages, no results."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huey.api import SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import SqliteStorage

from usersvc.errors import DatabaseUnavailable
from usersvc.settings import Settings


class JsonSerializer(Serializer):
    """Huey pickles by default; a queue that somebody else can write would then run his code."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(list(data)).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(bytes(data)))


class _Storage(SqliteStorage):
    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        # Safe against corruption; a wake-up that a power failure loses is made good by the sweep.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def make_queue(settings: Settings) -> SqliteHuey:
    """Raises DatabaseUnavailable where the file cannot be used."""
    path = settings.queue_path
    with usable(path):
        _touch(path)
        return SqliteHuey(
            name="usersvc",
            filename=str(path),
            storage_class=_Storage,
            results=False,
            serializer=JsonSerializer(),
            utc=True,
        )


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Raises DatabaseUnavailable, with the remedy, where what is done to the queue in here fails."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        remedy = "Nothing in it matters: delete it, and start again."
        # The lowest byte: the rest says more exactly how.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            remedy = "Another program holds it: end that one, and start again."
        raise DatabaseUnavailable(f"The queue {path} cannot be used ({error}). {remedy}") from error


def _touch(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
