"""Fixtures: cores on each kind of queue."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from huey.api import Huey

from tests.conftest import Make, cores, postgresql_values
from tests.databases import Databases
from tests.servers import Redis, redis_server
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.jobs.queue import make_queue
from usersvc.mail.transports import MemoryTransport

# On SQLite, but for the last.
KINDS = [
    "file",
    pytest.param("redis", marks=pytest.mark.redis),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("all in postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(scope="session")
def redis_for_all() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def queue_values(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """The settings that name this test's own queue."""
    if request.param == "file":
        yield {}
    elif request.param == "redis":
        server: Redis = request.getfixturevalue("redis_for_all")
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        yield {"queue__url": server.url}
    else:
        databases: Databases = request.getfixturevalue("prepared_postgresql")
        alone = request.param == "postgresql"
        with databases.server.empty_database() if alone else databases.one() as name:
            address = databases.server.address(name)
            yield {"queue__url": address} if alone else postgresql_values(databases.server, name)


@pytest.fixture
def make_core(
    data_dir: Path, queue_values: dict[str, object], clock: MovedClock, transport: MemoryTransport
) -> Iterator[Make]:
    with cores(data_dir, queue_values, clock, transport) as make:
        yield make


@pytest.fixture
def make_queues(core: Core) -> Iterator[Callable[[], Huey]]:
    """The queue as each process has it for itself."""
    made: list[Huey] = []

    def make() -> Huey:
        made.append(make_queue(core.settings))
        return made[-1]

    yield make
    for queue in made:
        queue.storage.close()


@pytest.fixture
def queue(make_queues: Callable[[], Huey]) -> Huey:
    return make_queues()
