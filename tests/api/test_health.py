"""Whether the process lives, whether it can serve, on how many threads, and the keys for relying services."""

import threading
import time
from functools import partial
from typing import Any

import anyio
import jwt
import pytest
from anyio import CapacityLimiter
from starlette.testclient import TestClient

from tests.api.conftest import Client, code_of
from tests.database import locked, run
from tests.factories import active, logged_in
from usersvc.api import deps
from usersvc.api.app import create_app
from usersvc.api.deps import Readiness, Threads
from usersvc.core import Core
from usersvc.db import sqlite
from usersvc.security.hashing_pool import HashingPool


@pytest.mark.sqlite
def test_r29_the_process_lives_without_a_database(client: Client, core: Core) -> None:
    core.close()
    core.database.path.unlink()
    assert client.http.get("/healthz").json() == {"status": "ok"}
    ready = client.http.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "NO_DATABASE")


def test_ready_means_the_database_takes_writes(client: Client, core: Core) -> None:
    with locked(core):
        ready = client.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            503,
            {"status": "unavailable", "reason": "DATABASE_BUSY"},
        )
        assert int(ready.headers["retry-after"]) >= 1
        assert client.http.get("/healthz").status_code == 200
    time.sleep(Readiness.SECONDS)
    assert client.http.get("/readyz").json() == {"status": "ok"}


def test_who_asks_often_causes_no_more_writes(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed_at() -> object:
        with core.read() as tx:
            job = tx.jobs.by_name("readiness probe")
        return job and job.finished_at

    assert client.http.get("/readyz").status_code == 200
    first = probed_at()
    core.clock.move(seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr(Readiness, "SECONDS", 60)
        assert {client.http.get("/readyz").status_code for _ in range(20)} == {200}
    assert probed_at() == first
    time.sleep(Readiness.SECONDS)
    assert client.http.get("/readyz").status_code == 200
    assert probed_at() != first


def test_an_older_schema_is_not_ready(client: Client, core: Core) -> None:
    run(core, "UPDATE alembic_version SET version_num = '0000'")
    assert client.http.get("/readyz").json()["reason"] == "SCHEMA_OUTDATED"


def test_a_process_that_stops_is_not_ready(core: Core) -> None:
    ready = TestClient(create_app(core, draining=lambda: True)).get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "STOPPING")


def test_relying_services_can_check_a_token_with_the_published_keys(client: Client, core: Core) -> None:
    account = active(core)
    token = logged_in(core).access_token
    response = client.http.get("/.well-known/jwks.json")
    assert response.headers["cache-control"] == "public, max-age=300"
    keys = jwt.PyJWKSet.from_dict(response.json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience="usersvc",
        issuer="http://127.0.0.1:8000",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert claims["sub"] == str(account.id)
    assert (claims["role"], claims["permissions"]) == ("user", [])
    assert all("d" not in key for key in response.json()["keys"])


def test_taking_a_reader_never_waits(core: Core) -> None:
    """The pool of readers is larger than all threads that can want one at the same time."""
    threads = Threads(hashing_places=1000)
    limits = (threads.hashing, threads.ordinary, threads.long_reads)
    in_the_event_loop, of_the_workers = 1, 32
    wanted = sum(int(limit.total_tokens) for limit in limits) + in_the_event_loop + of_the_workers
    assert wanted <= sqlite._READERS


@pytest.mark.parametrize("cores", [1, 2, 16, 64])
def test_more_requests_get_a_thread_than_the_hashing_pool_has_places(cores: int) -> None:
    """Else who has a place of his own in it would wait for a thread among those who have none."""
    pool = HashingPool(threads=cores)
    assert Threads(hashing_places=pool.places).hashing.total_tokens > pool.places


def _threads_of(client: Client) -> Threads:
    app: Any = client.http.app
    threads: Threads = app._app.state.face.threads
    return threads


@pytest.mark.sqlite
def test_who_finds_no_free_thread_is_told_so_soon(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(core)
    token = logged_in(core).access_token
    monkeypatch.setattr(deps, "THREAD_WAIT_SECONDS", 0.01)
    _threads_of(client).ordinary = CapacityLimiter(0)
    refused = client.call("PATCH", "/users/me", json={"username": "ada"}, token=token)
    assert (refused.status_code, code_of(refused)) == (503, "OVERLOADED")
    assert refused.headers["retry-after"] == "1"
    # The read of one row takes none.
    assert client.get("/users/me", token=token).json()["data"]["username"] is None


def test_all_threads_of_a_kind_work_at_once_and_are_given_back() -> None:
    """Of anyio's own there are forty."""
    places, rounds = 64, 2
    everybody = threading.Barrier(places, timeout=60)

    async def work() -> None:
        limiter = CapacityLimiter(places)
        for _ in range(rounds):
            async with anyio.create_task_group() as tasks:
                for _ in range(places):
                    tasks.start_soon(partial(deps._in_thread, limiter, everybody.wait))
        with pytest.raises(ZeroDivisionError):
            await deps._in_thread(limiter, lambda: 1 // 0)
        assert limiter.borrowed_tokens == 0

    anyio.run(work)
