"""The two engines on SQLite: many readers that cannot write, and one writer at a time.

A reader sees a snapshot and never waits (WAL). A writer begins IMMEDIATE: a transaction that reads
first and then writes fails at once under a second writer, whatever the busy timeout is.
"""

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from usersvc.db.types import WRITE_WAIT_SECONDS, unavailability
from usersvc.errors import DatabaseBusy, DatabaseUnavailable, DomainError
from usersvc.files import make_private

# More than all threads of a process together, so that taking a reader never waits. Opened when needed.
_READERS = 256
_CHECKPOINT_WAIT_MS = 100


class FairLock:
    """First come, first served, unlike threading.Lock: under load nobody starves past the deadline."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, timeout: float) -> bool:
        turn = threading.Event()
        with self._guard:
            if not self._held:
                self._held = True
                return True
            self._waiting.append(turn)
        try:
            turn.wait(timeout)
        except BaseException:
            # Ctrl+C while waiting: whoever hands over must not hand over to nobody.
            if not self._give_up(turn):
                self.release()
            raise
        return not self._give_up(turn)

    def _give_up(self, turn: threading.Event) -> bool:
        """Leave the queue; False where the lock was handed over already."""
        with self._guard:
            if turn.is_set():
                return False
            self._waiting.remove(turn)
            return True

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False


class SqliteDatabase:
    """One file. Opens nothing until it is used; commits nothing: that is the core's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = str(path)
        self._lock = FairLock()
        self._identity: tuple[int, int] | None = None
        self._reader = _engine(path, pool_size=_READERS, prepare=_prepare_reader, begin="BEGIN")
        self._glancer = _engine(path, pool_size=_READERS, prepare=_prepare_reader)
        self._glancers: deque[Connection] = deque()
        self._writer = _engine(path, pool_size=1, prepare=_prepare_writer, begin="BEGIN IMMEDIATE")
        self._kept_writer: Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in one snapshot. Raises DatabaseUnavailable."""
        with _facts(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def glancing(self) -> Iterator[Connection]:
        """A connection for one statement that reads: a snapshot by itself. Raises DatabaseUnavailable.

        Not given back to the pool in between, which takes longer than the statement.
        """
        with _facts():
            try:
                connection = self._glancers.pop()
            except IndexError:
                connection = self._glancer.connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._glancers.append(connection)

    @contextmanager
    def writing(self, wait: float = WRITE_WAIT_SECONDS) -> Iterator[Connection]:
        """The writing connection, its transaction begun.

        Raises DatabaseBusy where another writer, here or in another process, holds on for longer
        than `wait` seconds; DatabaseUnavailable where the file cannot be written.
        """
        deadline = time.monotonic() + wait
        with self._turn(wait), _facts(), self._the_writer() as connection:
            self._require_the_same_file()
            left = max(0, int((deadline - time.monotonic()) * 1000))
            driver_connection(connection).execute(f"PRAGMA busy_timeout = {left}")
            connection.begin()
            yield connection

    @contextmanager
    def _turn(self, wait: float) -> Iterator[None]:
        if not self._lock.acquire(wait):
            raise DatabaseBusy(retry_after=1)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _the_writer(self) -> Iterator[Connection]:
        """For who holds the lock. Not given back to the pool in between, as in `glancing`."""
        connection = self._kept_writer or self._writer.connect()
        self._kept_writer = None
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.in_transaction():
            connection.close()  # which takes back what was not committed
        else:
            self._kept_writer = connection

    def alone(self, connection: Connection) -> None:
        """Who writes is alone already."""

    def exists(self) -> bool:
        """Whether the file is there; makes none."""
        return self.path.exists()

    def may_lose_commits(self) -> bool:
        return False

    def checkpoint(self, *, above_bytes: int) -> None:
        """Move what the write-ahead log has into the database file; empty it, where it grew above this size.

        SQLite moves it by itself, but in the commit of whoever makes it long, who waits for that; this holds
        up nobody. It starts the log anew only when no reader looks into it; while much is written among many
        readers it would grow and grow. To empty it waits for readers a moment, and gives up: the next call
        tries again.
        """
        with self.glancing() as connection:
            driver_connection(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.exists() or log.stat().st_size <= above_bytes or not self._lock.acquire(0):
            return
        try:
            with _facts(), self._the_writer() as connection:
                driver_connection(connection).execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT_MS}")
                driver_connection(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._lock.release()

    @property
    def log_bytes(self) -> int:
        """How long the write-ahead log is; 0 where there is none."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def create(self) -> None:
        """Make the database file, readable by its owner alone, and switch it to WAL; safe to repeat."""
        with _facts():
            _touch(self.path)
            with self._turn(WRITE_WAIT_SECONDS), self._the_writer() as connection:
                _switch_to_wal(driver_connection(connection))

    def _require_the_same_file(self) -> None:
        """What is written into a file that was deleted or replaced meanwhile would be lost."""
        try:
            found = self.path.stat()
        except OSError:
            raise DatabaseUnavailable("The database file is gone.", retry_after=30) from None
        identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise DatabaseUnavailable("The database file was replaced: start again.", retry_after=30)

    def close(self) -> None:
        while self._glancers:
            self._glancers.pop().close()
        if self._kept_writer:
            self._kept_writer.close()
            self._kept_writer = None
        self._glancer.dispose()
        self._reader.dispose()
        self._writer.dispose()


def _engine(
    path: Path, *, pool_size: int, prepare: Callable[[sqlite3.Connection], None], begin: str | None = None
) -> Engine:
    """Without `begin` each statement is a transaction of its own."""

    def connect() -> sqlite3.Connection:
        # rw: opening a file that is gone must not make a new, empty one.
        address = f"file:{quote(str(path))}?mode=rw"
        return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=WRITE_WAIT_SECONDS)

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # they hold hashes and addresses, and errors are logged
        pool_timeout=WRITE_WAIT_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def _on_connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # We say BEGIN ourselves; sqlite3 would begin late and deferred.
        raw.execute("PRAGMA foreign_keys = ON")
        prepare(raw)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if begin:
            driver_connection(connection).execute(begin)

    return engine


def _prepare_reader(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA query_only = ON")


def _prepare_writer(raw: sqlite3.Connection) -> None:
    # An acknowledged write survives power loss, not only the end of the process.
    raw.execute("PRAGMA synchronous = FULL")
    # Some builds leave what was deleted in the file, until its place is needed.
    raw.execute("PRAGMA secure_delete = ON")


def _touch(path: Path) -> None:
    try:
        make_private(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseUnavailable(f"{path} cannot be written: {error.strerror}.") from error


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Several processes at once may try: the switch does not wait for a lock as other statements do."""
    deadline = time.monotonic() + 60
    while True:
        try:
            [mode] = raw.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise DatabaseUnavailable("The database cannot be switched to WAL on this file system.")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def driver_connection(connection: Connection) -> sqlite3.Connection:
    raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return raw


@contextmanager
def _facts() -> Iterator[None]:
    """Turn what the driver says of a database that cannot serve into a domain error."""
    try:
        yield
    except (DBAPIError, PoolTimeout, sqlite3.Error) as error:
        fact = _fact_behind(error)
        if fact is None:
            raise
        raise fact from error


def _fact_behind(error: BaseException | None) -> DomainError | None:
    """Also the first of a chain: a full disk ends the transaction, and then its savepoint is missing."""
    while error is not None:
        # The pragmas go past SQLAlchemy, so their errors come bare.
        told = DBAPIError("PRAGMA", None, error) if isinstance(error, sqlite3.Error) else error
        if isinstance(told, DBAPIError | PoolTimeout) and (fact := unavailability(told)):
            return fact
        error = error.__context__
    return None
