"""Keys rotated and the secret key replaced under servers, a worker and a relying service that all go on."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.factories import PASSWORD
from tests.forgery import unb64
from tests.processes import Usersvc, free_port
from usersvc.verify import TokenVerifier

pytestmark = [pytest.mark.process, pytest.mark.sqlite, pytest.mark.long]
# Seconds; a process looks every two, if it gets a turn.
SIGNS_AFTER = 15


class Client:
    """Logs in, shows its token to everybody, refreshes, and begins anew; whatever is refused is kept."""

    def __init__(self, bases: list[str], verifier: TokenVerifier, email: str) -> None:
        self._bases, self._verifier, self._email = bases, verifier, email
        self.refused: list[str] = []
        self.kids: list[str] = []
        self.rounds = 0

    def run(self, over: threading.Event) -> None:
        try:
            with httpx2.Client(timeout=60) as http:
                pair = self._post(http, "/auth/login", email=self._email, password=PASSWORD)
                while not over.is_set():
                    self._show(http, pair["access_token"])
                    pair = self._post(http, "/auth/refresh", refresh_token=pair["refresh_token"])
                    self.rounds += 1
                    time.sleep(0.05)
        except Exception as error:
            self.refused.append(repr(error))

    def _post(self, http: httpx2.Client, path: str, **body: str) -> dict[str, str]:
        # Each time at the other one: what one signs the other takes.
        url = self._bases[self.rounds % len(self._bases)] + path
        found: dict[str, str] = _answered(lambda: http.post(url, json=body)).json()["data"]
        return found

    def _show(self, http: httpx2.Client, token: str) -> None:
        self._verifier.verify(token)
        for base in self._bases:
            headers = {"Authorization": f"Bearer {token}"}
            _answered(lambda base=base, headers=headers: http.get(f"{base}/users/me", headers=headers))
        self.kids.append(token.split(".", maxsplit=1)[0])


def _answered(ask: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Asked again where a busy machine had no turn for it: that says nothing of the token."""
    while (answer := ask()).status_code == 503:
        time.sleep(int(answer.headers["Retry-After"]))
    assert answer.status_code == 200, answer.text
    return answer


def test_a77_rotation_under_load_refuses_no_valid_token(tmp_path: Path) -> None:
    """One server of two processes, another beside it, and a relying service that fetches keys by itself."""
    first = Usersvc(tmp_path)
    first.environ |= {
        "USERSVC_THROTTLE__ENABLED": "false",
        "USERSVC_SERVER__PUBLIC_URL": first.url,
        "USERSVC_REGISTRATION__ACTIVATION": "false",
    }
    other_port = str(free_port())
    verifier = TokenVerifier(first.url, "usersvc", pause_seconds=1, timeout_seconds=60)
    with ExitStack() as running:
        server = running.enter_context(first.serving("--workers", "2", "--no-worker"))
        worker = running.enter_context(first.running("worker"))
        other = running.enter_context(first.running("serve", "--port", other_port, "--no-worker"))
        other.wait_until(lambda: "ready" in other.output, "the other one serves")
        emails = [f"user{n}@example.org" for n in range(3)]
        for email in emails:
            assert first.post("/users", {"email": email, "password": PASSWORD}).status_code == 201
        bases = [first.api, f"http://127.0.0.1:{other_port}/api/v1"]
        clients = [Client(bases, verifier, email) for email in emails]
        over = threading.Event()
        threads = [threading.Thread(target=client.run, args=(over,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            _rotate(first, "EdDSA")
            server.wait_until(lambda: _all_sign(first, clients), "all clients have tokens of the new key")
            first.run("rotate-secret", "--yes")
            _rotate(first, "ES256")
            server.wait_until(lambda: _all_sign(first, clients), "all clients have tokens of the last key")
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
        assert [client.refused for client in clients] == [[], [], []]
        # Three keys each, one after the other.
        assert all(len(dict.fromkeys(client.kids)) == 3 for client in clients)
        for process in (server, other, worker):
            assert "Traceback" not in process.output
            assert "cannot be opened" not in process.output
            assert process.stop() == 0


def _rotate(usersvc: Usersvc, algorithm: str) -> None:
    usersvc.run("rotate-keys", "--algorithm", algorithm, "--after", str(SIGNS_AFTER))


def _all_sign(usersvc: Usersvc, clients: list[Client]) -> bool:
    """Whether each client's last token is of the key that was made last."""
    assert [client.refused for client in clients] == [[]] * len(clients)
    time.sleep(0.5)
    keys = json.loads(usersvc.run("keys", "--json").stdout)
    [newest, *_] = [key for key in keys if key["use"] == "access"]
    return newest["state"] == "signs" and all(_kid(client.kids[-1]) == newest["kid"] for client in clients)


def _kid(header: str) -> str:
    return str(json.loads(unb64(header))["kid"])


def test_after_a_compromise_running_servers_take_nothing_old_and_go_on(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.environ["USERSVC_THROTTLE__ENABLED"] = "false"
    usersvc.run("create-admin", "ada@example.org", "--password-stdin", text=f"{PASSWORD}\n")
    login = {"email": "ada@example.org", "password": PASSWORD}
    with usersvc.serving() as server:
        pair = usersvc.post("/auth/login", login).json()["data"]
        kids = _published(usersvc)
        usersvc.run("rotate-secret", "--compromised", "--yes")
        assert usersvc.me(pair["access_token"]).status_code == 401
        server.wait_until(lambda: not kids & _published(usersvc), "the server has the new keys alone")
        again = {"refresh_token": pair["refresh_token"]}
        assert usersvc.post("/auth/refresh", again).json()["error"]["code"] == "INVALID_TOKEN"
        pair = usersvc.post("/auth/login", login).json()["data"]
        assert usersvc.me(pair["access_token"]).status_code == 200
        assert server.stop() == 0
    with usersvc.serving():
        assert usersvc.me(pair["access_token"]).status_code == 200


def _published(usersvc: Usersvc) -> set[str]:
    return {
        key["kid"] for key in httpx2.get(f"{usersvc.url}/.well-known/jwks.json", timeout=30).json()["keys"]
    }
