"""Fixtures: a real database in a folder of its own, a clock that the test moves, mail kept in memory."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from httpx2._transports import default as httpx2_transports
from sqlalchemy import Engine

from tests.databases import Databases
from tests.servers import PostgreSQL, postgresql
from usersvc import configuration, logs
from usersvc.clock import MovedClock
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys, migration
from usersvc.services.actor import Actor
from usersvc.settings import Settings

Make = Callable[..., Core]

# The tests speak plain HTTP, and reading the certificates of the web takes 30 ms for each request.
httpx2_transports.create_ssl_context = cache(httpx2.create_ssl_context)

LOWEST_COST = 4
"""Of bcrypt itself."""


def settings_for(folder: Path, **values: object) -> Settings:
    """Settings for a data directory; `passwords__bcrypt_cost=11` and the like change single keys."""
    settings = _loaded(tuple((name, str(value)) for name, value in values.items()))
    server = settings.server.model_copy(update={"data_dir": folder})
    if "passwords__bcrypt_cost" in values:
        return settings.model_copy(update={"server": server})
    # Lower than any that settings may name: the tests hash a lot.
    cheap = settings.passwords.model_copy(update={"bcrypt_cost": LOWEST_COST})
    return settings.model_copy(update={"server": server, "passwords": cheap})


@cache
def _loaded(values: tuple[tuple[str, str], ...]) -> Settings:
    return configuration.load(environ={f"USERSVC_{name.upper()}": value for name, value in values})


class _OfEveryEngine:
    """SQLAlchemy's compiled statements; each engine keeps its own, and nearly every test has new engines.

    What is compiled depends on the kind of dialect, its server and the statement alone.
    """

    def __init__(self) -> None:
        self._compiled: dict[tuple[Any, ...], Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._compiled.get((type(key[0]), *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._compiled[type(key[0]), *key[1:]] = compiled


_compiled = _OfEveryEngine()
Engine._compiled_cache = property(lambda _: _compiled, lambda *_: None)


def pytest_configure() -> None:
    """Whoever starts the tests in the background has Ctrl+C ignored, by the processes of the tests too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: begun last, workers that have nothing else to do would wait for them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> Iterator[None]:
    """Logging as in a running process, so that tests can read what it would write (`caplog`)."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        logs.configure(form="json", to=nowhere)
        yield


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as the first start leaves it, to be copied."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    core = build(settings_for(folder))
    migration.prepare(core)
    keys.open_ring(core)
    core.close()
    return folder


@pytest.fixture(scope="session")
def prepared_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with postgresql() as server:
        template = server.new_database()
        folder = tmp_path_factory.mktemp("prepared-postgresql") / "data"
        core = build(settings_for(folder, **postgresql_values(server, template)))
        migration.prepare(core)
        keys.open_ring(core)
        core.close()
        yield Databases(server, template)


def postgresql_values(server: PostgreSQL, name: str) -> dict[str, object]:
    return {
        "database__url": server.address(name),
        "server__secret_key": "h3Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0=",
        "mail__transport": "file",
    }


def _is_its_own(metafunc: pytest.Metafunc) -> bool:
    """Whether the test's module says which database it is about."""
    return hasattr(metafunc.module, "database_values")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What uses a database runs on both, unless it is about one of them."""
    if "database_values" in metafunc.fixturenames and not _is_its_own(metafunc):
        alone = next(metafunc.definition.iter_markers("sqlite"), None)
        on_postgresql = pytest.param("postgresql", marks=pytest.mark.postgresql)
        kinds = ["sqlite"] if alone else ["sqlite", on_postgresql]
        metafunc.parametrize("database_values", kinds, indirect=True)


@pytest.fixture
def database_values(request: pytest.FixtureRequest) -> dict[str, object]:
    """The settings that name this test's own database."""
    if request.param == "sqlite":
        return {}
    values: dict[str, object] = request.getfixturevalue("postgresql_database")
    return values


@pytest.fixture
def postgresql_database(
    request: pytest.FixtureRequest, prepared_postgresql: Databases
) -> Iterator[dict[str, object]]:
    server = prepared_postgresql.server
    # Commands make their own.
    is_empty = "folder" in request.fixturenames
    with server.empty_database() if is_empty else prepared_postgresql.one() as name:
        yield postgresql_values(server, name)


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@contextmanager
def cores(
    folder: Path, common: dict[str, object], clock: MovedClock, transport: MemoryTransport
) -> Iterator[Make]:
    """Cores that share all of this; closed at the end."""
    made: list[Core] = []

    def make(**values: object) -> Core:
        core = build(settings_for(folder, **{**common, **values}), clock=clock, transport=transport)
        keys.open_ring(core)
        made.append(core)
        return core

    yield make
    for core in made:
        core.close()


@pytest.fixture
def make_core(
    data_dir: Path, database_values: dict[str, object], clock: MovedClock, transport: MemoryTransport
) -> Iterator[Make]:
    """Cores on the test's database: `make_core(registration__activation=False)`."""
    with cores(data_dir, database_values, clock, transport) as make:
        yield make


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core()


@pytest.fixture
def stranger() -> Actor:
    return Actor("anonymous", ip="192.0.2.1", user_agent="pytest", request_id="test-request")
