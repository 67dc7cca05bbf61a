"""A busy server backed up while it runs, stopped, restored and started again: the whole way, for real."""

import contextlib
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients_of_postgresql import on_the_path
from tests.conftest import postgresql_values
from tests.factories import EMAIL, PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually
from tests.servers import PostgreSQL
from tests.smtp import MailServer, mail_server

pytestmark = pytest.mark.process

_EACH = 3
"""Registrations acknowledged while a worker runs, before the backup begins, and after it is complete."""


class Crowd:
    """Somebody who registers one address after the other, and writes down which were acknowledged."""

    def __init__(self, usersvc: Usersvc) -> None:
        self.acknowledged: list[str] = []
        self._usersvc = usersvc
        self._over = threading.Event()

    @contextlib.contextmanager
    def registering(self) -> Iterator[None]:
        thread = threading.Thread(target=self._go_on)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(PATIENCE_SECONDS)

    def wait_for(self, more: int) -> set[str]:
        """Those acknowledged by now."""
        enough = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged) >= enough)
        return set(self.acknowledged)

    def _go_on(self) -> None:
        number = 0
        with httpx2.Client(timeout=PATIENCE_SECONDS, trust_env=False) as http:
            while not self._over.is_set():
                number += 1
                body = {"email": f"u{number}@example.org", "password": PASSWORD}
                if http.post(f"{self._usersvc.api}/users", json=body).status_code == 202:
                    self.acknowledged.append(body["email"])


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def usersvc(tmp_path: Path, mails: MailServer) -> Usersvc:
    usersvc = Usersvc(tmp_path)
    usersvc.environ |= {
        "USERSVC_THROTTLE__ENABLED": "false",
        "USERSVC_MAIL__TRANSPORT": "smtp",
        "USERSVC_MAIL__FROM_ADDRESS": "no-reply@example.org",
        "USERSVC_MAIL__SMTP_HOST": "127.0.0.1",
        "USERSVC_MAIL__SMTP_PORT": str(mails.port),
        "USERSVC_MAIL__SMTP_SECURITY": "none",
    }
    return usersvc


@contextlib.contextmanager
def _worker(usersvc: Usersvc) -> Iterator[None]:
    """Stops as it is asked to."""
    with usersvc.running("worker") as worker:
        worker.wait_until(lambda: "worker started" in worker.output, "it is up")
        yield
        assert worker.stop() == 0


def _logged_in(usersvc: Usersvc) -> dict[str, Any]:
    answer = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"])


def _there_and_back(usersvc: Usersvc, mails: MailServer, emails: Callable[[], set[str]]) -> None:
    usersvc.environ["USERSVC_SERVER__WORKER"] = "true"
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    crowd = Crowd(usersvc)
    with usersvc.serving("--no-worker") as server:
        pair = _logged_in(usersvc)
        with crowd.registering():
            with _worker(usersvc):
                sent = crowd.wait_for(_EACH)
                eventually(lambda: sent <= _recipients(mails).keys())
            # So that some mails are due in the backup, and go out after it.
            before = crowd.wait_for(_EACH)
            usersvc.run("backup", "users.backup")
            after = crowd.wait_for(_EACH)
        assert "stop every `usersvc serve`" in usersvc.run("restore", "users.backup", check=6).stderr
        assert server.stop() == 0
    with _worker(usersvc):
        eventually(lambda: after <= _recipients(mails).keys())
    done = usersvc.run("restore", "users.backup", "--yes").stdout
    [held] = re.findall(r"Held back: (\d+) mails", done)
    assert int(held) >= _EACH
    restored = emails()
    assert before <= restored
    assert after - restored, "the backup was made at its end"

    with usersvc.serving() as server:
        assert usersvc.me(pair["access_token"]).status_code == 401
        refreshed = usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
        assert refreshed.status_code == 401
        assert usersvc.me(_logged_in(usersvc)["access_token"]).status_code == 200
        # Behind whatever the worker would have sent.
        last = {"email": "last@example.org", "password": PASSWORD}
        assert usersvc.post("/users", last).status_code == 202
        eventually(lambda: _recipients(mails)["last@example.org"])
        assert server.stop() == 0
    assert {email for email, times in _recipients(mails).items() if times > 1} == set()


def _recipients(mails: MailServer) -> Counter[str]:
    return Counter(recipient for mail in list(mails.received) for recipient in mail.recipients)


def test_r25_a_restored_backup_of_a_busy_server_has_all_lets_no_old_session_in_and_mails_nobody_twice(
    usersvc: Usersvc, mails: MailServer
) -> None:
    def emails() -> set[str]:
        with closing(sqlite3.connect(usersvc.database)) as file:
            return {email for (email,) in file.execute("SELECT email FROM users")}

    _there_and_back(usersvc, mails, emails)


@pytest.mark.postgresql
def test_r25_the_same_on_postgresql(
    usersvc: Usersvc,
    mails: MailServer,
    postgresql_server: PostgreSQL,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_the_path(request, monkeypatch)
    name = postgresql_server.new_database()
    values = postgresql_values(postgresql_server, name) | {"mail__transport": "smtp"}
    usersvc.environ |= {f"USERSVC_{key.upper()}": str(value) for key, value in values.items()}
    usersvc.environ["PATH"] = f"{postgresql_server.programs}:{usersvc.environ['PATH']}"

    def emails() -> set[str]:
        return {email for (email,) in postgresql_server.execute("SELECT email FROM users", database=name)}

    _there_and_back(usersvc, mails, emails)
    postgresql_server.drop_database(name)


@pytest.fixture
def postgresql_server(request: pytest.FixtureRequest) -> PostgreSQL:
    found: PostgreSQL = request.getfixturevalue("prepared_postgresql").server
    return found
