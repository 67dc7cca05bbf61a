"""On how many threads requests wait, for how long, and that all are given back."""

import threading
import time
from functools import partial
from typing import Any

import anyio
import pytest

from tests.api.conftest import Client, code_of
from tests.factories import active, logged_in
from usersvc.api import threads
from usersvc.api.threads import Pool, Threads
from usersvc.core import Core
from usersvc.db import sqlite
from usersvc.errors import Overloaded
from usersvc.security.hashing_pool import HashingPool


def test_taking_a_reader_never_waits(core: Core) -> None:
    """The pool of readers is larger than all threads that can want one at the same time."""
    kinds = Threads(hashing_places=1000)
    pools = (kinds.hashing, kinds.ordinary, kinds.glances, kinds.long_reads)
    in_the_event_loop, of_the_workers = 1, 32
    wanted = sum(pool.places for pool in pools) + in_the_event_loop + of_the_workers
    assert wanted <= sqlite._READERS


@pytest.mark.parametrize("cores", [1, 2, 16, 64])
def test_more_requests_get_a_thread_than_the_hashing_pool_has_places(cores: int) -> None:
    """Else who has a place of his own in it would wait for a thread among those who have none."""
    pool = HashingPool(threads=cores)
    assert Threads(hashing_places=pool.places).hashing.places > pool.places


def _threads_of(client: Client) -> Threads:
    app: Any = client.http.app
    found: Threads = app._app.state.face.threads
    return found


@pytest.mark.sqlite
def test_who_finds_no_free_thread_is_told_so_soon(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(core)
    token = logged_in(core).access_token
    monkeypatch.setattr(threads, "WAIT_SECONDS", 0.01)
    end = threading.Event()
    busy = _threads_of(client).ordinary = Pool("ordinary", 1)
    busy._executor.submit(end.wait)
    refused = client.call("PATCH", "/users/me", json={"username": "ada"}, token=token)
    end.set()
    assert (refused.status_code, code_of(refused)) == (503, "OVERLOADED")
    assert refused.headers["retry-after"] == "1"
    # The read of one row takes none.
    assert client.get("/users/me", token=token).json()["data"]["username"] is None


def test_all_threads_of_a_kind_work_at_once_and_are_given_back() -> None:
    places, rounds = 64, 2
    everybody = threading.Barrier(places, timeout=60)

    async def work() -> None:
        pool = Pool("ordinary", places)
        for _ in range(rounds):
            async with anyio.create_task_group() as tasks:
                for _ in range(places):
                    tasks.start_soon(pool.run, everybody.wait)
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)

    anyio.run(work)


def test_who_gives_up_waiting_for_a_thread_leaves_no_work_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WAIT_SECONDS", 0.01)
    begun: list[str] = []

    async def work() -> None:
        pool, end = Pool("ordinary", 1), threading.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run, end.wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await pool.run(lambda: begun.append("late"))
            end.set()
        await pool.run(lambda: begun.append("next"))

    anyio.run(work)
    assert begun == ["next"]


def test_work_that_has_begun_is_waited_for_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WAIT_SECONDS", 0.01)
    assert anyio.run(Pool("ordinary", 1).run, partial(time.sleep, 0.1)) is None


def test_who_is_cancelled_is_not_told_of_an_overload() -> None:
    async def work() -> None:
        end = threading.Event()
        with anyio.move_on_after(0.01) as waiting:
            await Pool("ordinary", 1).run(end.wait)
        end.set()
        assert waiting.cancelled_caught

    anyio.run(work)
