"""Two servers restarted one after the other, behind clients that never retry: every request is answered."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.factories import PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

CLIENTS = 4

pytestmark = [pytest.mark.process, pytest.mark.long]


# Of what is younger than that a balancer may say who is ready; on a busy machine its looks take longer.
_FRESH_SECONDS = 1.0
_DRAIN_SECONDS = 4


class Balancer:
    """Asks each server ten times a second whether it is ready, and says which of those are in turn."""

    def __init__(self, servers: list[Usersvc]) -> None:
        self._servers = servers
        self._ready: list[Usersvc] = []
        self._asked_at = 0.0
        self._turn = 0
        self._over = threading.Event()
        self.seen_stopping: set[int] = set()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Balancer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def next_one(self) -> Usersvc:
        ready = eventually(self._known_to_be_ready)
        self._turn += 1
        return ready[self._turn % len(ready)]

    def all_are_ready(self) -> bool:
        return len(self._ready) == len(self._servers)

    def _known_to_be_ready(self) -> list[Usersvc]:
        return self._ready if time.monotonic() < self._asked_at + _FRESH_SECONDS else []

    def _look(self) -> None:
        while not self._over.wait(0.1):
            asked_at = time.monotonic()
            self._ready = [server for server in self._servers if self._is_ready(server)]
            self._asked_at = asked_at

    def _is_ready(self, server: Usersvc) -> bool:
        try:
            answer = httpx2.get(f"{server.url}/readyz", timeout=2)
        except httpx2.TransportError:
            return False
        if answer.json().get("reason") == "STOPPING":
            self.seen_stopping.add(server.port)
        return answer.status_code == 200


class Client:
    """A person on an address of his own, who tries nothing twice: any error fails the test."""

    def __init__(self, number: int, balancer: Balancer, *, keep_alive: bool) -> None:
        self.answered: Counter[str] = Counter()
        self._number = number
        self._balancer = balancer
        self._keep_alive = keep_alive
        self._connection: HTTPConnection | None = None

    def live(self, over: threading.Event) -> Counter[str]:
        me = {"email": f"client{self._number}@example.org", "password": PASSWORD}
        self._ask("register", 201, "POST", "/users", me)
        while not over.is_set():
            pair = self._ask("log in", 200, "POST", "/auth/login", me)
            self._ask("me", 200, "GET", "/users/me", bearer=pair["access_token"])
            renewed = self._ask(
                "refresh", 200, "POST", "/auth/refresh", {"refresh_token": pair["refresh_token"]}
            )
            self._ask("me", 200, "GET", "/users/me", bearer=renewed["access_token"])
            other = {
                "email": f"other{self._number}.{self.answered.total()}@example.org",
                "password": PASSWORD,
            }
            self._ask("register", 201, "POST", "/users", other)
            self._ask("log out", 200, "POST", "/auth/logout", {"refresh_token": renewed["refresh_token"]})
        self._leave()
        return self.answered

    def _ask(
        self, what: str, expected: int, method: str, path: str, body: object = None, *, bearer: str = ""
    ) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        connection = self._connection or self._connected()
        connection.request(method, f"/api/v1{path}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == expected, (what, answer.status, found)
        self.answered[what] += 1
        self._connection = connection
        if not self._keep_alive or answer.will_close:
            self._leave()
        return found["data"] or {}

    def _connected(self) -> HTTPConnection:
        own_address = (f"127.0.0.{self._number + 2}", 0)
        port = self._balancer.next_one().port
        return HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=own_address)

    def _leave(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


@pytest.fixture
def two(tmp_path: Path) -> list[Usersvc]:
    """Two servers of one data directory."""
    servers = [Usersvc(tmp_path), Usersvc(tmp_path)]
    for server in servers:
        server.environ |= {
            "USERSVC_SERVER__PUBLIC_URL": servers[0].url,
            "USERSVC_SERVER__DRAIN_SECONDS": str(_DRAIN_SECONDS),
            "USERSVC_REGISTRATION__ACTIVATION": "false",
            "USERSVC_THROTTLE__ENABLED": "false",
        }
    servers[0].run("migrate")
    return servers


@pytest.mark.parametrize(("workers", "restarts"), [("1", 3), ("2", 1)])
def test_r27_a_rolling_restart_loses_no_request(two: list[Usersvc], workers: str, restarts: int) -> None:
    over = threading.Event()
    with (
        ThreadPoolExecutor(CLIENTS) as pool,
        Balancer(two) as balancer,
        ExitStack() as stack,
    ):
        running = [stack.enter_context(server.serving("--workers", workers)) for server in two]
        stack.callback(over.set)
        eventually(balancer.all_are_ready)
        clients = [Client(number, balancer, keep_alive=number % 2 == 0) for number in range(CLIENTS)]
        lives = [pool.submit(client.live, over) for client in clients]
        for number in range(restarts):
            assert running[number % 2].stop() == 0
            assert "Traceback" not in running[number % 2].output
            running[number % 2] = stack.enter_context(two[number % 2].serving("--workers", workers))
            eventually(balancer.all_are_ready)
        over.set()
        answered = sum((life.result(timeout=PATIENCE_SECONDS) for life in lives), Counter())
    assert all(client.answered.total() > 10 * restarts for client in clients)
    assert set(answered) == {"register", "log in", "me", "refresh", "log out"}
    assert balancer.seen_stopping == {server.port for server in two[:restarts]}
