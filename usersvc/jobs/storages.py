"""Where wake-ups lie: Huey's storages, with bounds on each wait, that tell of trouble once and survive it."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from huey.constants import EmptyData
from huey.storage import BaseSqlStorage, RedisStorage, SqliteStorage
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from usersvc import logs
from usersvc.errors import DatabaseUnavailable
from usersvc.files import make_private
from usersvc.setting_types import without_password

# For Redis to let in, and to answer. Longer than a worker waits there for a wake-up, which is a second.
_REDIS_SECONDS = 3
# A worker whose queue is away looks for it so often.
_PAUSE_SECONDS = 1.0

_log = logs.get("usersvc.queue")


class Queue:
    """What all storages do alike, before Huey's own class: wake-ups come and go, nothing else is kept.

    Each raises DatabaseUnavailable where a wake-up cannot be put in; taking one out waits and finds none.
    """

    address: str
    """To be shown; without a password."""
    trouble: ClassVar[tuple[type[Exception], ...]]

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        with self.told("ring"):
            super().enqueue(data, priority)  # type: ignore[misc]

    def dequeue(self) -> bytes | None:
        try:
            with self.told("read"):
                data: bytes | None = super().dequeue()  # type: ignore[misc]
                return data
        except DatabaseUnavailable:
            time.sleep(_PAUSE_SECONDS)
            return None

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Log when this begins to fail and when it works again, not each time that it fails."""
        failing: set[str] = self.__dict__.setdefault("_failing", set())
        try:
            with self.facts():
                yield
        except DatabaseUnavailable as error:
            if what not in failing:
                failing.add(what)
                _log.warning("queue away", what=what, reason=str(error))
            raise
        if what in failing:
            failing.discard(what)
            _log.info("queue back", what=what)

    @contextmanager
    def facts(self) -> Iterator[None]:
        """Raises DatabaseUnavailable, with the reason, where what is done in here fails."""
        try:
            yield
        except self.trouble as error:
            self.begin_anew()
            raise DatabaseUnavailable(self.explain(error)) from error

    def explain(self, error: Exception) -> str:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        return f"The queue {self.address} cannot be used ({said})."

    def begin_anew(self) -> None:
        """Keep nothing that the trouble may have broken."""

    # No task is put off or revoked, and no result is kept: Huey need not ask the server for each.

    def read_schedule(self, _at: datetime) -> list[bytes]:
        return []

    def peek_many(self, _keys: list[str]) -> dict[str, bytes]:
        return {}

    def peek_data(self, _key: str) -> Any:
        return EmptyData

    def delete_data(self, _key: str) -> bool:
        return False


class FileQueue(Queue, SqliteStorage):
    trouble = (sqlite3.Error, OSError)

    def __init__(self, name: str, *, path: Path) -> None:
        """Raises DatabaseUnavailable, with the remedy, where the file cannot be made or used."""
        self.address = str(path)
        super().__init__(name, filename=str(path), create_tables=False)
        with self.facts():
            _touch(path)
            self.initialize_schema()

    def explain(self, error: Exception) -> str:
        remedy = "Nothing in it matters: delete it, and start again."
        # The lowest byte: the rest says more exactly how.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            remedy = "Another program holds it: end that one, and start again."
        return f"{super().explain(error)} {remedy}"

    def close(self) -> None:
        close_shared(self)

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        # Safe against corruption; a wake-up that a power failure loses is made good by the sweep.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


class _PlainRedis(RedisStorage):
    def dequeue(self) -> bytes | None:
        """Unlike Huey's own it tells a server that does not answer from one that has nothing."""
        found: Any = self.conn.brpop(self.queue_key, timeout=self.read_timeout)
        return found[1] if found else None


class RedisQueue(Queue, _PlainRedis):
    trouble = (RedisError, OSError)

    def __init__(self, name: str, *, url: str) -> None:
        """Connects to nothing yet. Raises DatabaseUnavailable where the address has unknown parameters."""
        self.address = without_password(url)
        try:
            pool = ConnectionPool.from_url(
                url,
                socket_connect_timeout=_REDIS_SECONDS,
                socket_timeout=_REDIS_SECONDS,
                # Once more, for a connection that was closed while nothing was to do.
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
            # It would be told only when the first wake-up sets out.
            pool.connection_class(**pool.connection_kwargs)
        except (TypeError, ValueError) as error:
            raise DatabaseUnavailable(self.explain(error)) from error
        super().__init__(name, connection_pool=pool)

    def close(self) -> None:
        # Each thread closes as it ends; what another one still waits on is its own.
        self.pool.disconnect(inuse_connections=False)

    def try_out(self) -> str:
        """By a write that changes nothing, as there is no such list: it is refused where any would be."""
        with self.facts():
            self.conn.lpushx(f"{self.queue_key}.none", b"")
        return f"{self.address} takes wake-ups"


def close_shared(storage: BaseSqlStorage) -> None:
    """Unlike Huey's own it may be done by several threads at once."""
    with storage.lock:
        connection, storage._conn = storage._conn, None
        if connection:
            connection.close()


def _touch(path: Path) -> None:
    make_private(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
