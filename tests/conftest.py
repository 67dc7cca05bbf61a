"""Fixtures: a real database in a folder of its own, a clock that the test moves, mail kept in memory."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from usersvc import configuration, logs
from usersvc.clock import MovedClock
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys, migration
from usersvc.services.actor import Actor
from usersvc.settings import Settings

Make = Callable[..., Core]


def settings_for(folder: Path, **values: object) -> Settings:
    """Settings for a data directory; `passwords__bcrypt_cost=11` and the like change single keys."""
    environ = {
        "USERSVC_SERVER__DATA_DIR": str(folder),
        # The lowest that is allowed: the tests hash a lot.
        "USERSVC_PASSWORDS__BCRYPT_COST": "10",
    }
    environ |= {f"USERSVC_{name.upper()}": str(value) for name, value in values.items()}
    return configuration.load(environ=environ)


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


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def make_core(data_dir: Path, clock: MovedClock, transport: MemoryTransport) -> Iterator[Make]:
    """Cores on the test's data directory: `make_core(registration__activation=False)`."""
    made: list[Core] = []

    def make(**values: object) -> Core:
        core = build(settings_for(data_dir, **values), clock=clock, transport=transport)
        keys.open_ring(core)
        made.append(core)
        return core

    yield make
    for core in made:
        core.close()


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core()


@pytest.fixture
def stranger() -> Actor:
    return Actor("anonymous", ip="192.0.2.1", user_agent="pytest", request_id="test-request")
