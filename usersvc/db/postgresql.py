"""PostgreSQL: one pool for readers and writers, and bounds on everything that waits."""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from usersvc.db.bounds import Bounds
from usersvc.db.models import metadata
from usersvc.db.types import READ_ONLY, WRITE_WAIT_SECONDS, unavailability

# Any number that no other program on this database uses for its advisory locks.
_ALONE = 0x75736572_73766300
# A server that can still answer ends a statement itself, and says so before this much more has gone by.
_ANSWER_SECONDS = 1
# Whether a connection still lives is asked where it was used longer ago.
IDLE_SECONDS = 0.2


# In models/ it would load this dialect where the database is SQLite, too.
for _index in [index for table in metadata.tables.values() for index in table.indexes]:
    if (_where := _index.dialect_options["sqlite"]["where"]) is not None:
        _index.dialect_options["postgresql"]["where"] = _where


class ImpatientConnection(psycopg.Connection[Any]):
    """Does not wait for ever for a server that neither answers nor goes away: it is broken then."""

    patience: float | None = 10
    """Seconds for each answer; None for as long as it takes."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if not error.sqlstate:  # It was not the server that said so.
                self.pgconn.finish()
            raise


class PostgreSqlDatabase:
    """Opens nothing until it is used; commits nothing: that is the core's."""

    path: Path | None = None
    log_bytes = 0

    def __init__(self, url: str, bounds: Bounds) -> None:
        self._url = make_url(url)
        shown = self._url.set(password=None).difference_update_query(["password", "sslpassword"])
        self.address = shown.render_as_string()
        self._engine = create_engine(
            self._url,
            pool_size=bounds.pool,
            max_overflow=bounds.overflow,
            pool_timeout=bounds.pool_wait,
            pool_use_lifo=True,
            hide_parameters=True,  # they hold hashes and addresses, and errors are logged
            connect_args=connect_arguments(url, bounds),
        )
        self._patience = bounds.statement + _ANSWER_SECONDS
        event.listen(self._engine, "do_connect", self._connect)
        event.listen(self._engine, "checkin", _note_when)
        event.listen(self._engine, "checkout", self._require_life)
        # Readers see one snapshot, as on SQLite. What PostgreSQL is told of it travels with the BEGIN.
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writer = self._engine.execution_options(isolation_level="READ COMMITTED")
        # Most of the pool stays for the others.
        self._most_glancers = min(3, bounds.pool // 3)
        self._glancers: deque[tuple[float, Connection]] = deque()
        self._glancer = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in one snapshot. Raises DatabaseUnavailable, and DatabaseBusy where none is free."""
        with _facts(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def glancing(self) -> Iterator[Connection]:
        """A connection for one statement that reads, sent without a BEGIN and an end. Raises as `reading`."""
        with _facts():
            connection = self._kept_glancer() or self._glancer.connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            if len(self._glancers) < self._most_glancers:
                self._glancers.append((time.monotonic(), connection))
            else:
                connection.close()

    def _kept_glancer(self) -> Connection | None:
        """One that is not given back to the pool in between, which takes as long as the statement."""
        try:
            kept_at, connection = self._glancers.pop()
        except IndexError:
            return None
        if time.monotonic() - kept_at < IDLE_SECONDS or self._lives(connection.connection.driver_connection):
            return connection
        connection.invalidate()
        connection.close()
        return None

    @contextmanager
    def writing(self, wait: float = WRITE_WAIT_SECONDS) -> Iterator[Connection]:
        """A connection, its transaction begun.

        Raises DatabaseBusy where another transaction holds a row that is needed for too long, or was in
        each other's way; DatabaseUnavailable where the server cannot be reached or written.
        """
        with _facts(), self._writer.connect() as connection, _left_where_read_only(connection):
            # SQLAlchemy would say READ WRITE, which overrules a server that is to take no writes.
            _driver(connection).read_only = None
            connection.begin()
            if wait == WRITE_WAIT_SECONDS:
                yield connection
            else:
                with self._patient(connection, wait):
                    yield connection

    @contextmanager
    def _patient(self, connection: Connection, wait: float) -> Iterator[None]:
        """For what is meant to take long, such as a migration."""
        connection.execute(text(f"SET LOCAL lock_timeout = {int(wait * 1000)}"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        driver = _driver(connection)
        driver.patience = None
        try:
            yield
        finally:
            driver.patience = self._patience

    def _connect(self, _dialect: object, _record: object, args: Any, arguments: Any) -> ImpatientConnection:
        connection = ImpatientConnection.connect(*args, **arguments)
        connection.patience = self._patience
        return connection

    def _require_life(self, driver: Any, record: Any, _fairy: object) -> None:
        """One that lay idle may be dead: to ask each time would take as long as many a statement."""
        if time.monotonic() - record.info.get("back_at", math.inf) < IDLE_SECONDS:
            return
        if not self._lives(driver):
            # The others are as old: each is made anew when it is needed.
            raise InvalidatePoolError

    def _lives(self, driver: Any) -> bool:
        try:
            return self._engine.dialect.do_ping(driver)
        except psycopg.Error:
            return False

    def alone(self, connection: Connection) -> None:
        """Wait until no other process is here, and let none in before this transaction ends."""
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ALONE})"))

    def exists(self) -> bool:
        """Whether the server has it. Raises DatabaseUnavailable where it cannot be asked."""
        with self.glancing() as connection:
            return connection.execute(text("SELECT true")).scalar_one() is True

    def create(self) -> None:
        """A database is made by whoever runs the server."""

    def may_lose_commits(self) -> bool:
        """As the server, the database, the role and the address together say."""
        with self.reading() as connection:
            return connection.execute(text("SHOW synchronous_commit")).scalar() == "off"

    def checkpoint(self, *, above_bytes: int) -> None:
        """PostgreSQL does so by itself."""

    def close(self) -> None:
        while self._glancers:
            self._glancers.pop()[1].close()
        self._engine.dispose()


def connect_arguments(url: str, bounds: Bounds) -> dict[str, object]:
    """What libpq is told besides the address."""
    limits = {
        "statement_timeout": bounds.statement,
        "lock_timeout": bounds.lock,
        "idle_in_transaction_session_timeout": bounds.idle_in_transaction,
    }
    given = make_url(url).query.get("options", "")
    own = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
    return {
        "connect_timeout": bounds.connect,
        "application_name": "usersvc",
        "options": f"{own} {given if isinstance(given, str) else ' '.join(given)}".strip(),
        # A peer that is gone without a word is noticed, whatever is being waited for.
        "tcp_user_timeout": int(bounds.statement * 1000),
        "keepalives_idle": 30,
    }


def _note_when(_driver: object, record: Any) -> None:
    record.info["back_at"] = time.monotonic()


def _driver(connection: Connection) -> ImpatientConnection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, ImpatientConnection)
    return driver


@contextmanager
def _left_where_read_only(connection: Connection) -> Iterator[None]:
    """After a failover this server may be the one that only follows: the next connection asks anew."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == READ_ONLY:
            connection.invalidate()
        raise


@contextmanager
def _facts() -> Iterator[None]:
    """Turn what the driver says of a database that cannot serve into a domain error."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        fact = unavailability(error)
        if fact is None:
            raise
        raise fact from error
