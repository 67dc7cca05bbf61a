"""Many at once: passwords cost time, and whoever sends them by the hundred takes it from nobody else."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio
import httpx2

from tests.attacks.conftest import PENDING, TARGET, USER, World
from usersvc.api.deps import PREFIX
from usersvc.core import Core


@contextmanager
def hashing_forever(core: Core):
    """Every thread that hashes is busy until the gate opens, or the block ends."""
    gate = threading.Event()
    begun = threading.Semaphore(0)

    def job() -> None:
        begun.release()
        gate.wait(60)

    with ThreadPoolExecutor() as threads:
        try:
            for _ in range(core.hashing._threads):
                threads.submit(core.hashing.run, job)
                assert begun.acquire(timeout=30)
            yield gate
        finally:
            gate.set()


def test_a45_a_flood_of_logins_holds_up_nobody_who_needs_no_password(world: World) -> None:
    """As of a hundred networks, so that no share of one is in the way."""
    found: Counter[int] = Counter()
    answered: dict[str, int] = {}

    async def main() -> None:
        application: Any = world.client.http.app
        turned_away = anyio.Event()

        async def log_in(number: int) -> None:
            transport = httpx2.ASGITransport(application, client=(f"198.51.100.{number}", 50000))
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                body = {
                    "email": (TARGET, PENDING, f"x{number}@example.org")[number % 3],
                    "password": "x" * 12,
                }
                response = await http.post(f"{PREFIX}/auth/login", json=body)
                found[response.status_code] += 1
                if response.status_code == 503:
                    assert int(response.headers["retry-after"]) >= 1
                    turned_away.set()

        async def others() -> None:
            await turned_away.wait()
            transport = httpx2.ASGITransport(application, client=("192.0.2.7", 50000))
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                bearer = {"Authorization": f"Bearer {world.pairs[USER].access_token}"}
                token = {"refresh_token": world.pairs[USER].refresh_token}
                answered["health"] = (await http.get("/healthz")).status_code
                answered["me"] = (await http.get(f"{PREFIX}/users/me", headers=bearer)).status_code
                answered["list"] = (await http.get(f"{PREFIX}/users/me/sessions", headers=bearer)).status_code
                answered["refresh"] = (await http.post(f"{PREFIX}/auth/refresh", json=token)).status_code
                answered["ready"] = (await http.get("/readyz")).status_code
            gate.set()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(others)
                for number in range(100):
                    tasks.start_soon(log_in, number)

    with hashing_forever(world.core) as gate:
        anyio.run(main)
    assert answered == {"health": 200, "me": 200, "list": 200, "refresh": 200, "ready": 200}
    # No more waited than there is room for; the others were told to come again while it was still full.
    assert set(found) <= {401, 503}
    assert found[503] >= 100 - world.core.hashing.places
