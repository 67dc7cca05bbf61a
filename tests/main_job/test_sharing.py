"""Two processes of one server: what one person asks for, nobody else gets, whichever of them answers."""

import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.factories import PASSWORD
from tests.main_job.machines import Machines
from tests.processes import JSON, PATIENCE_SECONDS, Usersvc, sockets, sockets_from
from tests.servers import postgresql

pytestmark = pytest.mark.process

PEOPLE = 4
CLIENTS = 12
ROUNDS = 18
_FOLDER = b"PROMETHEUS_MULTIPROC_DIR"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as stack:
        server = stack.enter_context(postgresql()) if request.param == "postgresql" else None
        found = Machines(Usersvc(tmp_path), server)
        found.usersvc.environ |= {
            "USERSVC_REGISTRATION__ACTIVATION": "false",
            "USERSVC_THROTTLE__ENABLED": "false",
        }
        yield found


class Client:
    """Asks for one person, in a session of its own, and looks whether every answer is his."""

    def __init__(self, usersvc: Usersvc, number: int) -> None:
        self._port = usersvc.port
        self._number = number
        self._name = f"user{number % PEOPLE}"
        self._asked = 0
        body = {"email": f"{self._name}@example.org", "password": PASSWORD}
        pair = usersvc.post("/auth/login", body).json()["data"]
        claims = _claims(pair["access_token"])
        self._id, self._session = claims["sub"], claims["sid"]
        self._takes(pair)

    def ask(self) -> int:
        for round_ in range(ROUNDS):
            # Another connection each time, so that another process may answer.
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)) as self._http:
                self._shows_me()
                self._renames_me(round_)
                self._lists_my_sessions()
                self._goes_on()
                self._refuses_a_wrong_token()
        return self._asked

    def _call(self, method: str, path: str, body: Any = None, *, token: str = "", status: int = 200) -> Any:
        self._asked += 1
        request_id = f"{self._number}-{self._asked}"
        headers = JSON | {"X-Request-ID": request_id}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http.request(method, f"/api/v1{path}", body and json.dumps(body), headers)
        answer = self._http.getresponse()
        found = json.load(answer)
        assert answer.status == status, found
        assert answer.headers["x-request-id"] == request_id
        return found["data"]

    def _takes(self, pair: dict[str, Any]) -> None:
        claims = _claims(pair["access_token"])
        assert claims["sub"] == self._id
        assert claims["sid"] == self._session
        self._access, self._refresh = pair["access_token"], pair["refresh_token"]

    def _shows_me(self) -> None:
        self._is_me(self._call("GET", "/users/me", token=self._access))

    def _renames_me(self, round_: int) -> None:
        name = f"{self._name}-{self._number}-{round_}"
        account = self._call("PATCH", "/users/me", {"username": name}, token=self._access)
        self._is_me(account)
        assert account["username"] == name

    def _lists_my_sessions(self) -> None:
        found = self._call("GET", "/users/me/sessions", token=self._access)
        assert [session["id"] for session in found if session["current"]] == [self._session]

    def _goes_on(self) -> None:
        self._takes(self._call("POST", "/auth/refresh", {"refresh_token": self._refresh}))

    def _refuses_a_wrong_token(self) -> None:
        head, _, signature = self._access.rpartition(".")
        self._call("GET", "/users/me", token=f"{head}.{signature[::-1]}", status=401)

    def _is_me(self, account: dict[str, Any]) -> None:
        assert account["id"] == self._id
        assert account["email"] == f"{self._name}@example.org"
        assert account["username"].startswith(self._name)


def test_r38_of_two_processes_nobody_gets_what_is_for_another(machine: Machines) -> None:
    usersvc = machine.usersvc
    with usersvc.serving("--workers", "2", "--no-worker") as server, ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(PEOPLE):
            name = f"user{number}"
            body = {"email": f"{name}@example.org", "password": PASSWORD, "username": name}
            assert usersvc.post("/users", body).status_code == 201
        clients = [Client(usersvc, number) for number in range(CLIENTS)]
        asked = sum(pool.map(Client.ask, clients))
        assert asked > 1000
        both = server.api_processes()
        assert len(both) == 2
        for pid in both:
            assert _answered(pid) > asked / 20, "one of the two did nearly nothing"
        if machine.server:
            _each_has_its_own_connections(machine, [server.process.pid, *both])
        assert server.stop() == 0
        assert "Traceback" not in server.output


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _answered(pid: int) -> float:
    """What one process has counted by itself."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    [folder] = [value for name, _, value in (each.partition(b"=") for each in variables) if name == _FOLDER]
    found = Path(os.fsdecode(folder)) / f"counter_{pid}.db"
    [counted] = [
        metric
        for metric in MultiProcessCollector.merge([str(found)])
        if metric.name == "usersvc_http_requests"
    ]
    return sum(sample.value for sample in counted.samples)


def _each_has_its_own_connections(machine: Machines, pids: list[int]) -> None:
    ports = machine.rows("SELECT client_port FROM pg_stat_activity WHERE application_name = 'usersvc'")
    held = {pid: sockets(pid) & sockets_from(port for (port,) in ports) for pid in pids}
    assert sum(map(len, held.values())) == len(ports) == len(set.union(*held.values()))
    assert all(held[pid] for pid in pids[1:])
