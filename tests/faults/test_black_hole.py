"""A network that swallows everything on the way to PostgreSQL: a 503 in time, and no restart afterwards."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.black_hole import Proxy, proxy
from tests.conftest import postgresql_values
from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc, eventually
from tests.servers import PostgreSQL, postgresql

pytestmark = [pytest.mark.process, pytest.mark.postgresql, pytest.mark.long]

# A statement and a connection, and half a second for each to be noticed; then as long again for a thread, and
# as long again for a machine that is busy. Without bounds it would be a quarter of an hour.
_LONGEST_SECONDS = 24


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture
def behind(tmp_path: Path, database: PostgreSQL) -> Iterator[tuple[Usersvc, Proxy]]:
    """A server that reaches its database through the proxy alone, and gives up after 2 s."""
    with proxy(database.port) as between:
        name = database.new_database()
        usersvc = Usersvc(tmp_path)
        for key, value in postgresql_values(database, name).items():
            usersvc.environ[f"USERSVC_{key.upper()}"] = str(value)
        usersvc.environ |= {
            "USERSVC_DATABASE__URL": database.address(name, port=between.port),
            "USERSVC_DATABASE__STATEMENT_SECONDS": "2",
            "USERSVC_DATABASE__CONNECT_SECONDS": "2",
        }
        with usersvc.serving("--no-worker") as process:
            yield usersvc, between
            assert "Traceback" not in process.output


def test_r17_what_is_swallowed_is_a_503_and_everything_works_afterwards(
    behind: tuple[Usersvc, Proxy],
) -> None:
    usersvc, between = behind
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    credentials = {"email": EMAIL, "password": PASSWORD}
    pair = usersvc.post("/auth/login", credentials).json()["data"]
    assert usersvc.me(pair["access_token"]).status_code == 200

    def ask(number: int) -> tuple[int, bool, float]:
        began = time.monotonic()
        answer = usersvc.me(pair["access_token"]) if number % 2 else usersvc.post("/auth/login", credentials)
        return answer.status_code, "retry-after" in answer.headers, time.monotonic() - began

    with between.holding(), ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(16)]
        time.sleep(1)
        assert usersvc.get("/healthz").status_code == 200, "the process lives"
        assert not all(each.done() for each in asked), "while they wait"
        answers = [each.result() for each in asked]
        assert {(status, has_pause) for status, has_pause, _ in answers} == {(503, True)}
        assert max(waited for _, _, waited in answers) < _LONGEST_SECONDS
    eventually(lambda: usersvc.get("/readyz").status_code == 200)
    assert usersvc.me(pair["access_token"]).status_code == 200
    assert usersvc.post("/auth/login", credentials).status_code == 200


def test_r16_r17_a_worker_outlives_a_swallowed_and_a_read_only_database_and_sends_afterwards(
    behind: tuple[Usersvc, Proxy], database: PostgreSQL
) -> None:
    usersvc, between = behind
    with usersvc.running("worker") as worker:

        def a_mail_goes_out(number: int) -> None:
            address = f"{number}@example.org"
            assert eventually(lambda: _accepted(usersvc, address)).status_code == 202
            worker.wait_until(lambda: len(usersvc.mails()) == number, "the mail is sent")

        worker.wait_until(lambda: "worker started" in worker.output, "it is up")
        a_mail_goes_out(1)
        with between.holding():
            worker.wait_until(lambda: "queue away" in worker.output, "it notices")
        a_mail_goes_out(2)
        name = usersvc.environ["USERSVC_DATABASE__URL"].rpartition("/")[2]
        database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        database.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        worker.wait_until(lambda: worker.output.count("queue away") == 2, "it notices again")
        assert usersvc.post("/users", _person("nobody@example.org")).status_code == 503
        database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        database.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        a_mail_goes_out(3)
        assert worker.stop() == 0
        assert "Traceback" not in worker.output


def _person(address: str) -> dict[str, str]:
    return {"email": address, "password": PASSWORD}


def _accepted(usersvc: Usersvc, address: str) -> httpx2.Response | None:
    """None while the database is still away."""
    answer = usersvc.post("/users", _person(address))
    return answer if answer.status_code != 503 else None
