"""Servers and workers apart, with Redis or PostgreSQL as the doorbell between them."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import postgresql_values
from tests.factories import PASSWORD
from tests.processes import Running, Usersvc, eventually, free_port
from tests.servers import PostgreSQL, Redis, hanging, postgresql, redis_server

pytestmark = pytest.mark.process

Server = PostgreSQL | Redis

# A worker looks by itself once a minute; what takes less was rung.
_RUNG_SECONDS = 25
# So long who waited for a queue that hangs would wait.
_HANGING_SECONDS = 60


@pytest.fixture(params=[redis_server, postgresql])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as started:
        yield started


@pytest.fixture
def apart(usersvc: Usersvc, server: Server) -> Iterator[tuple[Running, Running]]:
    """A server and a worker; the database is a file."""
    _name_queue(usersvc, server)
    usersvc.environ["USERSVC_DATABASE__STATEMENT_SECONDS"] = str(_HANGING_SECONDS)
    if isinstance(server, Redis):
        usersvc.environ["USERSVC_QUEUE__URL"] += f"?socket_timeout={_HANGING_SECONDS}"
    with usersvc.serving("--no-worker", "--workers", "2") as serve, usersvc.running("worker") as worker:
        worker.wait_until(lambda: "worker started" in worker.output, "the worker runs")
        yield serve, worker


def _name_queue(usersvc: Usersvc, server: Server) -> None:
    address = server.url if isinstance(server, Redis) else server.address(server.new_database())
    usersvc.environ["USERSVC_QUEUE__URL"] = address


def _register(usersvc: Usersvc, name: str) -> httpx2.Response:
    return usersvc.post("/users", {"email": f"{name}@example.org", "password": PASSWORD})


def _mails_are(usersvc: Usersvc, number: int) -> None:
    eventually(lambda: len(usersvc.mails()) == number, seconds=_RUNG_SECONDS)


def test_r19_the_bell_rings_in_another_process_before_and_after_the_queue_was_away(
    usersvc: Usersvc, server: Server, apart: tuple[Running, Running]
) -> None:
    assert _register(usersvc, "before").status_code == 202
    _mails_are(usersvc, 1)
    server.stop()
    took = []
    for number in range(5):
        begun = time.monotonic()
        assert _register(usersvc, f"meanwhile{number}").status_code == 202
        took.append(time.monotonic() - begun)
    assert min(took) < 3, "between two tries to ring lie five seconds"
    server.start()
    _mails_are(usersvc, 6)
    assert _register(usersvc, "after").status_code == 202
    _mails_are(usersvc, 7)
    for process in apart:
        assert process.output.count("Traceback") == 0
        assert process.stop() == 0


def test_r19_a_queue_that_hangs_makes_nobody_wait(
    usersvc: Usersvc, server: Server, apart: tuple[Running, Running]
) -> None:
    with hanging(server):
        for number in range(5):
            begun = time.monotonic()
            assert _register(usersvc, f"u{number}").status_code == 202
            assert time.monotonic() - begun < _HANGING_SECONDS / 2
    _mails_are(usersvc, 5)


def test_r19_both_start_without_the_queue_and_mail_goes_out(usersvc: Usersvc, server: Server) -> None:
    _name_queue(usersvc, server)
    server.stop()
    with usersvc.serving("--no-worker"):
        assert _register(usersvc, "ada").status_code == 202
        with usersvc.running("worker") as worker:
            _mails_are(usersvc, 1)
            assert "queue away" in worker.output
            assert worker.stop() == 0
    with usersvc.serving() as alone:
        assert _register(usersvc, "bob").status_code == 202
        server.start()
        _mails_are(usersvc, 2)
        assert alone.stop() == 0


def test_everything_in_one_postgresql(usersvc: Usersvc) -> None:
    with postgresql() as server:
        for name, value in postgresql_values(server, server.new_database()).items():
            usersvc.environ[f"USERSVC_{name.upper()}"] = str(value)
        with usersvc.serving() as serve, usersvc.running("worker") as worker:
            worker.wait_until(lambda: "worker started" in worker.output, "the worker runs")
            for number in range(3):
                assert _register(usersvc, f"u{number}").status_code == 202
                _mails_are(usersvc, number + 1)
            # One of the server's, one of the worker's, and one for each of its threads.
            assert _queue_connections(server) == 4
            assert worker.stop() == 0
            assert serve.stop() == 0
            assert not (usersvc.folder / "data" / "queue.db").exists()


def _queue_connections(server: PostgreSQL) -> int:
    seen = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'usersvc-queue'"
    return int(server.execute(seen)[0][0])


@pytest.mark.parametrize("address", ["redis://:pepper@h/0?tmeout=3", "postgresql://u:pepper@h/x?sslmoed=no"])
def test_a_wrong_address_is_told_in_one_line(usersvc: Usersvc, address: str) -> None:
    usersvc.run("migrate")
    usersvc.environ["USERSVC_QUEUE__URL"] = address
    for command in ("serve", "worker"):
        found = usersvc.run(command, check=8)
        told = [line for line in found.stderr.splitlines() if line.startswith("Error: ")]
        assert len(told) == 1
        assert "The queue" in told[0]
        assert "pepper" not in found.stdout + found.stderr
        assert "Traceback" not in found.stderr


def test_doctor_tells_of_a_queue_that_is_not_there(usersvc: Usersvc) -> None:
    usersvc.run("migrate")
    usersvc.environ["USERSVC_QUEUE__URL"] = f"redis://127.0.0.1:{free_port()}/0"
    found = usersvc.run("doctor", check=8)
    [row] = [line for line in found.stdout.splitlines() if line.startswith("queue ")]
    assert "failed" in row
