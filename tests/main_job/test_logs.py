"""Everything that a full run writes, read afterwards: nothing secret in it, and requests can be followed."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, text_of
from tests.processes import PATIENCE_SECONDS, Running, Usersvc, eventually
from tests.smtp import MailServer, mail_server

pytestmark = pytest.mark.process

ROOT, GRACE, LEFT = "root@example.org", "grace.hopper@example.org", "left.behind@example.org"
THIRD_PASSWORD = "copper meadow 19 kite"
ADDRESSES = (EMAIL, ROOT, GRACE, LEFT)


class Run:
    """A client that keeps every secret it sends or gets, and every line that the programs write."""

    def __init__(self, usersvc: Usersvc, server: MailServer) -> None:
        self.usersvc = usersvc
        self.server = server
        self.secrets = {PASSWORD, OTHER_PASSWORD, THIRD_PASSWORD}
        self.written = ""
        self._stack = ExitStack()
        self._processes: list[Running] = []

    def start(self) -> None:
        self._processes = [
            self._stack.enter_context(self.usersvc.serving("--no-worker", "--workers", "2")),
            self._stack.enter_context(self.usersvc.running("worker")),
        ]

    def stop(self) -> None:
        for process in self._processes:
            assert process.stop() == 0
            self.written += process.output
        self._stack.close()

    def command(self, *arguments: str, text: str = "") -> None:
        self.written += self.usersvc.run(*arguments, text=text, check=None).stderr

    def call(self, method: str, path: str, body: Any = None, *, token: str = "", request_id: str = "") -> Any:
        headers = {"X-Request-ID": request_id} if request_id else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else self.usersvc.api + path
        answer = httpx2.request(method, url, json=body, headers=headers, timeout=PATIENCE_SECONDS)
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    def log_in(self, email: str, password: str) -> dict[str, str]:
        answer = self.call("POST", "/auth/login", {"email": email, "password": password})
        return self.keep(answer["data"])

    def keep(self, pair: dict[str, str]) -> dict[str, str]:
        self.secrets |= {pair["access_token"], pair["refresh_token"]}
        return pair

    def link_token(self, number: int) -> str:
        """Of the mail that arrived as number so many."""
        mail = eventually(lambda: self.server.received[number - 1 :])[0]
        found = re.search(r"token=([\w-]{43})", text_of(mail.message))
        assert found
        self.secrets.add(found[1])
        return found[1]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    usersvc = Usersvc(tmp_path)
    with mail_server() as server:
        usersvc.environ |= {
            "USERSVC_LOG__LEVEL": "debug",
            "USERSVC_LOG__FORMAT": "json",
            "USERSVC_SERVER__SECRET_KEY": "h3Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0=",
            "USERSVC_MAIL__TRANSPORT": "smtp",
            "USERSVC_MAIL__SMTP_HOST": "127.0.0.1",
            "USERSVC_MAIL__SMTP_PORT": str(server.port),
            "USERSVC_MAIL__SMTP_SECURITY": "none",
            "USERSVC_MAIL__FROM_ADDRESS": "Example <no-reply@example.org>",
        }
        run = Run(usersvc, server)
        run.secrets.add(usersvc.environ["USERSVC_SERVER__SECRET_KEY"])
        yield run


def _do_everything(run: Run) -> None:
    run.command("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    run.start()
    registration = {"email": EMAIL, "password": PASSWORD, "username": "ada"}
    run.call("POST", "/users", registration, request_id="the-registration")
    token = run.link_token(1)
    run.call("GET", f"{run.usersvc.url}/activate?token={token}")
    run.call("POST", "/auth/activate", {"token": token})
    run.call("POST", "/users", {"email": EMAIL, "password": OTHER_PASSWORD})
    run.call("POST", "/auth/login", {"email": EMAIL, "password": THIRD_PASSWORD})
    ada = run.log_in(EMAIL, PASSWORD)
    body = {"refresh_token": ada["refresh_token"]}
    run.keep(run.call("POST", "/auth/refresh", body)["data"])
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    run.call("POST", "/users/me/change-password", change, token=ada["access_token"])
    run.call("POST", "/auth/refresh", body)
    run.call("POST", "/auth/forgot-password", {"email": EMAIL}, request_id="the-forgotten-one")
    eventually(lambda: len(run.server.received) >= 4)
    token = run.link_token(4)
    run.call("GET", f"{run.usersvc.url}/reset-password?token={token}")
    run.call("POST", "/auth/reset-password", {"reset_token": token, "new_password": THIRD_PASSWORD})
    root = run.log_in(ROOT, PASSWORD)["access_token"]
    grace = run.call("POST", "/admin/users", {"email": GRACE}, token=root)["data"]["id"]
    run.call("GET", f"/admin/users?q={GRACE}", token=root)
    run.call("PATCH", f"/admin/users/{grace}/deactivate", token=root)
    run.server.answers["RCPT"] = f"550 5.1.1 <{LEFT}>: no such user"
    run.call("POST", "/users", {"email": LEFT, "password": PASSWORD}, request_id="the-refused-one")
    run.call("POST", "/users", [EMAIL, PASSWORD])
    run.call("POST", "/auth/login", {"email": EMAIL, "password": THIRD_PASSWORD, "secret": "x"})
    run.call("GET", "/users/me", token=f"{root}x")
    eventually(lambda: '"failed"' in run.usersvc.run("outbox", "--json").stdout)
    run.command("show-user", LEFT)
    run.command("deactivate", EMAIL, "--yes")
    run.command("purge-tokens")
    run.stop()


def test_a67_nothing_secret_is_written_and_requests_can_be_followed_into_the_jobs(run: Run) -> None:
    _do_everything(run)
    found = [secret for secret in (*run.secrets, *ADDRESSES) if secret in run.written]
    assert found == []
    assert not re.search(r"eyJ[\w-]{10,}\.|\$2b\$\d\d\$|token=[\w-]{20}", run.written)

    lines = [json.loads(line) for line in run.written.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    assert {"method", "route", "status", "ms", "request_id"} <= set.intersection(*map(set, requests))
    assert len(requests) >= 20
    assert any("user_id" in line for line in requests)
    assert {"/activate", "/api/v1/admin/users/{user_id}/deactivate"} <= {line["route"] for line in requests}

    _is_followed(lines, "the-registration", "request", "mail sent")
    _is_followed(lines, "the-forgotten-one", "request", "mail sent")
    _is_followed(lines, "the-refused-one", "request", "mail not sent")
    [refused] = [
        line
        for line in lines
        if line["event"] == "mail not sent" and line.get("request_id") == "the-refused-one"
    ]
    assert refused["to"] == "l***@example.org"
    assert "550" in refused["error"]


def _is_followed(lines: list[dict[str, Any]], request_id: str, *events: str) -> None:
    """What the logs tell of this request, in the API process and in the worker."""
    told = [line["event"] for line in lines if line.get("request_id") == request_id]
    assert [event for event in told if event in events] == list(events)
