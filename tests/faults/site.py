"""What the kill loop runs on: three servers and three workers that are started again wherever they die."""

import contextlib
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.main_job.machines import Machines
from tests.processes import Running, Usersvc, eventually, free_port, sockets, sockets_from
from tests.servers import PostgreSQL
from usersvc.cli.app import EXIT
from usersvc.errors import Kind

PATIENCE_SECONDS = 60
# Of servers and workers there are enough that some live while others start.
_WORKERS = 3
_MOST_OF_A_LOG = 4000
# SQLite's lock of whoever writes: a byte of the file beside the database (WAL_WRITE_LOCK).
_WRITE_LOCK = "120 120"
_READY = '"ready"'
_SPIN = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800000) SELECT i FROM n"


class Place:
    """Where one process runs, and after its death the next one."""

    def __init__(self, usersvc: Usersvc, *arguments: str, port: int = 0, processes: int = 1) -> None:
        self.port = port
        self._usersvc = usersvc
        self._arguments = (*arguments, *(("--port", str(port)) if port else ()))
        self._processes = processes
        self._stack = ExitStack()
        self._up: Running | None = None
        self.running: Running | None = None

    def __str__(self) -> str:
        return f"{self._arguments[0]} with {self._processes} processes" if self.is_server else "worker"

    @property
    def is_server(self) -> bool:
        return self.port != 0

    @property
    def pid(self) -> int:
        running = self.running
        return running.process.pid if running else 0

    def children(self) -> list[int]:
        """Of a server with several: those that serve now."""
        running = self.running
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return running.api_processes() if running else []
        return []

    def start(self) -> None:
        if self.port:
            # Of a parent that was killed the children go on for a moment.
            eventually(self._port_is_free, seconds=PATIENCE_SECONDS)
        self.running = self._stack.enter_context(self._usersvc.running(*self._arguments))

    def strike(self) -> int:
        """The process and its children, without waiting for their end; how many there were."""
        number = 1 + len(self.children()) if self.running else 0
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.running.process.pid, signal.SIGKILL)
        return number

    def end(self) -> None:
        """As `strike`, and none of them is left."""
        self._stack.close()
        self.running = None

    def is_up(self) -> bool:
        """Whether it was once, since it was started."""
        running = self.running
        if running is None or running is self._up:
            return running is not None
        what, often = (_READY, self._processes) if self.is_server else ("worker started", 1)
        if running.output.count(what) >= often:
            self._up = running
        return running is self._up

    def serves(self, pid: int) -> bool:
        """Whether one of its processes does; where one was killed there is soon another one."""
        running = self.running
        return bool(running) and f'"pid": {pid}, "event": {_READY}' in running.output

    def wait_until_up(self) -> None:
        eventually(self.is_up, seconds=PATIENCE_SECONDS)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.running.process.poll() if self.running else None

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            # Another one that listens is only met here.
            with contextlib.suppress(OSError):
                probe.listen()
                return True
        return False


class Site(Machines):
    """They share a folder and a database; mail goes to a server of the test's."""

    def __init__(self, folder: Path, server: PostgreSQL | None, *, smtp_port: int) -> None:
        super().__init__(Usersvc(folder), server)
        self.usersvc.environ |= {
            "USERSVC_THROTTLE__ENABLED": "false",
            "USERSVC_MAIL__TRANSPORT": "smtp",
            "USERSVC_MAIL__FROM_ADDRESS": "no-reply@example.org",
            "USERSVC_MAIL__SMTP_HOST": "127.0.0.1",
            "USERSVC_MAIL__SMTP_PORT": str(smtp_port),
            "USERSVC_MAIL__SMTP_SECURITY": "none",
        }
        ports = (self.usersvc.port, free_port(), free_port())
        several = ("serve", "--no-worker", "--workers", "2")
        self.servers = [
            Place(self.usersvc, *several, port=ports[0], processes=2),
            *(Place(self.usersvc, "serve", "--no-worker", port=port) for port in ports[1:]),
        ]
        self.workers = [Place(self.usersvc, "worker") for _ in range(_WORKERS)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.ended_by_themselves: list[str] = []

    @property
    def places(self) -> list[Place]:
        return [*self.servers, *self.workers]

    @property
    def database_address(self) -> str:
        return self.usersvc.environ.get("USERSVC_DATABASE__URL", f"sqlite:///{self.usersvc.database}")

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            for place in self.places:
                stack.callback(place.end)
            yield

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while late := [place for place in self.places if not place.is_up()]:
            assert time.monotonic() < deadline, [place.running and place.running.output for place in late]
            time.sleep(0.05)
            self.revive()

    def wait_until_it_works(self) -> None:
        """One server is up, and one worker."""

        def works() -> bool:
            self.revive()
            return all(any(place.is_up() for place in places) for places in (self.servers, self.workers))

        eventually(works, seconds=PATIENCE_SECONDS)

    def revive(self) -> None:
        """Start again what ended by itself, as a service manager does.

        It may, where the database goes away while it starts; it says so then, and by its exit code.
        """
        for place in self.places:
            code = place.exit_code()
            if code is None:
                continue
            assert place.running
            if code != EXIT[Kind.UNAVAILABLE]:
                told = place.running.output[-_MOST_OF_A_LOG:]
                self.ended_by_themselves.append(f"a process ended by itself with {code}:\n{told}")
            place.end()
            place.start()

    def connections(self) -> int:
        """To PostgreSQL, of all processes of usersvc."""
        assert self.server
        counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'usersvc%'"
        [(number,)] = self.server.execute(counted)
        return int(number)

    def held_by(self, pid: int) -> list[str]:
        """The Message-IDs of the mails that a worker has in hand."""
        sql = f"SELECT message_id FROM outbox WHERE status = 'due' AND lease_owner LIKE '%:{pid}'"
        return [message_id for (message_id,) in self.rows(sql)]

    def change(self, sql: str) -> None:
        if self.server:
            self.server.execute(sql, database=self._database)
            return
        with contextlib.closing(sqlite3.connect(self.usersvc.database, timeout=30)) as connection, connection:
            connection.execute(sql)

    @contextmanager
    def asking(self) -> Iterator[Callable[[str], list[Any]]]:
        """Rows by one connection that stays open, for who asks again and again."""
        connection: Any
        if self.server:
            connection = psycopg.connect(self.database_address, autocommit=True)
        else:
            connection = sqlite3.connect(self.usersvc.database, timeout=30)
        with contextlib.closing(connection):
            yield lambda sql: connection.execute(sql).fetchall()

    @contextmanager
    def slow_before(self, table: str) -> Iterator[Callable[[], int | None]]:
        """Who registers is held up before its row in `table`, in the middle of the transaction.

        Gives a look at who that is: the process.
        """
        with self._locked(table) if self.server else self._spinning(table) as who:
            yield who

    @contextmanager
    def committed(self) -> Iterator[Callable[[], int | None]]:
        """Gives a look at who has committed a registration and has not answered yet: the process."""
        with self._commits_held() if self.server else self._commits_seen() as who:
            yield who

    @contextmanager
    def _commits_held(self) -> Iterator[Callable[[], int | None]]:
        """By a second server to wait for, that is not there: what is committed is so, and tells nobody."""
        assert self.server
        waiting = "SELECT client_port FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        self.server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.server.execute("SELECT pg_reload_conf()")
        try:
            with self.asking() as ask:
                yield lambda: _process_behind(self._server_pids(), *(port for (port,) in ask(waiting)))
        finally:
            self.server.execute("ALTER SYSTEM RESET synchronous_standby_names")
            self.server.execute("SELECT pg_reload_conf()")

    @contextmanager
    def _commits_seen(self) -> Iterator[Callable[[], int | None]]:
        """By the lock that is let go; the answer is on its way then."""
        with self._spinning("outbox") as who:

            def commits() -> int | None:
                pid = who()
                while pid and pid == self._writer():
                    pass
                return pid

            yield commits

    @contextmanager
    def _locked(self, table: str) -> Iterator[Callable[[], int | None]]:
        waiting = (
            "SELECT client_port FROM pg_stat_activity "
            f"WHERE wait_event_type = 'Lock' AND query ~ '^(INSERT INTO|UPDATE) {table} '"
        )
        with self.asking() as ask, psycopg.connect(self.database_address) as connection:
            connection.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
            try:
                yield lambda: _process_behind(self._server_pids(), *(port for (port,) in ask(waiting)))
            finally:
                connection.rollback()

    @contextmanager
    def _spinning(self, table: str) -> Iterator[Callable[[], int | None]]:
        self.change(f"CREATE TRIGGER slow BEFORE INSERT ON {table} BEGIN SELECT count(*) FROM ({_SPIN}); END")

        def writes() -> int | None:
            first = self._writer()
            # What takes so long is the trigger.
            time.sleep(0.03)
            return first if first in self._server_pids() and first == self._writer() else None

        try:
            yield writes
        finally:
            self.change("DROP TRIGGER slow")

    def _writer(self) -> int | None:
        """The process that is in a writing transaction."""
        try:
            inode = self.usersvc.database.with_name("usersvc.db-shm").stat().st_ino
        except FileNotFoundError:  # nobody is there
            return None
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            if line.endswith(f":{inode} {_WRITE_LOCK}") and " WRITE " in line and "->" not in line:
                return int(line.split()[4])
        return None

    def _server_pids(self) -> set[int]:
        return {pid for place in self.servers for pid in (place.pid, *place.children())}


def _process_behind(pids: set[int], *ports: int) -> int | None:
    """The process that is connected from one of these ports."""
    wanted = sockets_from(ports)
    return next((pid for pid in pids if wanted & sockets(pid)), None)
