"""A server that is to be the queue, and is away, hangs, is full or comes back empty: nothing is lost."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis
from huey.api import Huey

from tests.factories import PASSWORD, STRANGER
from tests.processes import eventually
from tests.servers import PostgreSQL, Redis, hanging, postgresql, redis_server
from usersvc.core import Core
from usersvc.db.postgresql import ImpatientConnection
from usersvc.errors import DatabaseUnavailable
from usersvc.jobs import queue_check
from usersvc.jobs.doorbell import Doorbell
from usersvc.jobs.queue import make_queue
from usersvc.jobs.tasks import register
from usersvc.jobs.worker import Worker
from usersvc.mail.transports import MemoryTransport
from usersvc.services import maintenance, registration
from usersvc.services.checks.finding import State

Server = PostgreSQL | Redis

SERVERS = [
    pytest.param(redis_server, marks=pytest.mark.redis),
    pytest.param(postgresql, marks=pytest.mark.postgresql),
]
on_redis = pytest.mark.parametrize("server", SERVERS[:1], indirect=True)
on_postgresql = pytest.mark.parametrize("server", SERVERS[1:], indirect=True)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as started:
        yield started


@pytest.fixture(autouse=True)
def started(server: Server) -> Iterator[None]:
    yield
    server.stop(signal.SIGKILL if isinstance(server, Redis) else signal.SIGQUIT)
    server.start()


@pytest.fixture
def queue_values(server: Server) -> dict[str, object]:
    """Of a queue alone: the database is a file."""
    address = server.url if isinstance(server, Redis) else server.address(server.new_database())
    return {"queue__url": address, "database__lock_seconds": 1}


@pytest.fixture
def ring(core: Core, queue: Huey) -> Callable[[], object]:
    return register(queue, core, owner="test").deliver_outbox


@pytest.fixture
def worker(core: Core) -> Iterator[Worker]:
    worker = Worker(core, make_queue(core.settings))
    core.doorbell = worker.wake
    yield worker
    assert worker.stop()


def _register(core: Core, name: str = "ada") -> None:
    registration.register(core, email=f"{name}@example.org", password=PASSWORD, actor=STRANGER)


def _events(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in found if line["event"] == event]


# -- with a worker


def test_r19_a_worker_that_finds_no_queue_starts_sends_what_waits_and_purges(
    core: Core, worker: Worker, server: Server, transport: MemoryTransport
) -> None:
    server.stop()
    _register(core)
    worker.start()
    eventually(lambda: transport.sent)
    eventually(lambda: maintenance.last_slot(core))


def test_r19_a_queue_that_goes_and_comes_back_costs_no_mail_and_no_restart(
    core: Core,
    worker: Worker,
    server: Server,
    transport: MemoryTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker.start()
    _register(core, "before")
    eventually(lambda: transport.sent)
    server.stop()
    eventually(lambda: _events(caplog, "queue away"))
    begun = time.monotonic()
    _register(core, "meanwhile")
    assert time.monotonic() - begun < 3
    server.start()
    eventually(lambda: len(transport.sent) == 2)
    _register(core, "after")
    eventually(lambda: len(transport.sent) == 3)
    eventually(lambda: {line["what"] for line in _events(caplog, "queue back")} == {"ring", "read"})


def test_r19_trouble_is_told_once_however_long_it_lasts(
    core: Core, worker: Worker, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    worker.start()
    eventually(lambda: len(_events(caplog, "queue away")) == 2)
    time.sleep(3)
    assert {line["what"] for line in _events(caplog, "queue away")} == {"ring", "read"}
    assert len(_events(caplog, "queue away")) == 2
    assert [record for record in caplog.records if record.name.startswith("huey")] == []


@on_postgresql
def test_r19_tables_that_are_dropped_are_made_again(
    core: Core, worker: Worker, server: PostgreSQL, transport: MemoryTransport
) -> None:
    worker.start()
    _register(core, "before")
    eventually(lambda: transport.sent)
    name = core.settings.queue_url.rpartition("/")[2]
    server.execute("DROP TABLE huey_task, huey_kv, huey_schedule, huey_counter", database=name)
    _register(core, "after")
    eventually(lambda: len(transport.sent) == 2)


# -- without


def test_r19_a_ring_at_a_server_that_hangs_ends(
    core: Core, ring: Callable[[], object], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImpatientConnection, "patience", 1)
    ring()
    with hanging(server), pytest.raises(DatabaseUnavailable, match="cannot be used"):
        ring()
    ring()


@on_redis
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"), "maxmemory"),
        (("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"), "read only"),
    ],
)
def test_r19_a_redis_that_takes_nothing_is_told_until_it_does(
    core: Core, ring: Callable[[], object], server: Redis, trouble: tuple[str, str], said: str
) -> None:
    assert queue_check.look(core).state is State.OK
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*trouble[0].split())
        with pytest.raises(DatabaseUnavailable, match=said):
            ring()
        found = queue_check.look(core)
        assert (found.state, said in found.found) == (State.FAILED, True)
        client.execute_command(*trouble[1].split())
    ring()
    assert queue_check.look(core).state is State.OK


@on_postgresql
def test_r19_a_table_that_somebody_locks_is_not_waited_for_long(
    core: Core, ring: Callable[[], object]
) -> None:
    assert "a worker makes them" in queue_check.look(core).found
    ring()
    assert "takes wake-ups" in queue_check.look(core).found
    with psycopg.connect(core.settings.queue_url) as other:
        other.execute("LOCK TABLE huey_task")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            ring()
        assert queue_check.look(core).state is State.FAILED
    ring()


def test_where_no_server_is_the_check_fails_and_shows_no_password(core: Core, server: Server) -> None:
    server.stop()
    found = queue_check.look(core)
    assert found.state is State.FAILED
    assert str(server.port) in found.found
    assert found.remedy


# -- the doorbell alone


def test_a_ring_that_failed_is_rung_again_and_others_meanwhile_are_that_one() -> None:
    rings: list[bool] = []
    failed, again, go_on = threading.Event(), threading.Event(), threading.Event()

    def enqueue() -> None:
        rings.append(True)
        if len(rings) == 1:
            failed.set()
            assert go_on.wait(10)
            raise DatabaseUnavailable
        again.set()

    bell = Doorbell(enqueue, pause=0.5)
    bell.ring()
    assert failed.wait(10)
    for _ in range(100):
        bell.ring()
    go_on.set()
    assert not again.wait(0.2)
    assert again.wait(10)
    assert len(rings) == 2
