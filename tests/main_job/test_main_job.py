"""The main job through running processes, as an operator and a person would do it."""

import random
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import jwt
import pytest

from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, token_in_file
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

API_DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "api.md"

pytestmark = pytest.mark.process


def _checked_as_documented(usersvc: Usersvc, token: str) -> dict:
    """What the code in docs/api.md says of this token."""
    [code] = re.findall(r"```python\n(.*?)```", API_DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(code.replace("http://127.0.0.1:8000", usersvc.url), names)
    return names["check"](token)


def _id_of(rows, address: str) -> str:
    [(found,)] = rows("SELECT id FROM users WHERE email = ?", address)
    return str(uuid.UUID(found))


def _activated(usersvc: Usersvc, address: str = EMAIL) -> None:
    before = set(usersvc.mails())
    response = usersvc.post("/users", {"email": address, "password": PASSWORD})
    assert response.status_code == 202, response.text
    [mail] = eventually(lambda: set(usersvc.mails()) - before)
    assert usersvc.post("/auth/activate", {"token": token_in_file(mail)}).status_code == 200


def _logged_in(usersvc: Usersvc, address: str = EMAIL, password: str = PASSWORD) -> dict[str, str]:
    response = usersvc.post("/auth/login", {"email": address, "password": password})
    assert response.status_code == 200, response.text
    return response.json()["data"]


def test_a_person_registers_activates_logs_in_and_out_and_an_operator_does_his_part(
    usersvc: Usersvc, rows
) -> None:
    """Everything once: `serve` without a worker, `worker` beside it, the commands in between."""
    with usersvc.serving("--no-worker") as server, usersvc.running("worker") as worker:
        assert "create-admin" in server.output
        worker.wait_until(lambda: "worker started" in worker.output, "the worker is up")

        registered = usersvc.post("/users", {"email": EMAIL, "password": PASSWORD, "username": "ada"})
        assert (registered.status_code, registered.json()["data"]["activation"]) == (202, "sent")
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).status_code == 401

        [mail] = eventually(usersvc.mails)
        link = re.search(r"http\S+/activate\?token=\S+", mail.read_text(encoding="utf-8"))
        assert link
        assert link[0].startswith(usersvc.url)
        page = httpx2.get(link[0])
        assert page.status_code == 200
        hidden = re.search(r'name="token" value="([^"]+)"', page.text)
        assert hidden
        pressed = httpx2.post(f"{usersvc.url}/activate", data={"token": hidden[1]})
        assert "active" in pressed.text

        pair = _logged_in(usersvc)
        assert _checked_as_documented(usersvc, pair["access_token"])["sub"] == _id_of(rows, EMAIL)
        with pytest.raises(jwt.PyJWTError):
            _checked_as_documented(usersvc, pair["refresh_token"])
        me = usersvc.me(pair["access_token"]).json()["data"]
        assert (me["email"], me["username"], me["status"], me["role"]) == (EMAIL, "ada", "active", "user")
        refreshed = usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).json()["data"]
        assert usersvc.me(refreshed["access_token"]).status_code == 200

        changed = httpx2.post(
            f"{usersvc.api}/users/me/change-password",
            json={"current_password": PASSWORD, "new_password": OTHER_PASSWORD},
            headers={"Authorization": f"Bearer {refreshed['access_token']}"},
            timeout=PATIENCE_SECONDS,
        )
        assert changed.status_code == 200
        assert usersvc.me(refreshed["access_token"]).status_code == 401

        before = set(usersvc.mails())
        assert usersvc.post("/auth/forgot-password", {"email": EMAIL}).status_code == 202
        reset = eventually(lambda: [path for path in set(usersvc.mails()) - before if "reset" in path.name])
        page = httpx2.get(f"{usersvc.url}/reset-password?token={token_in_file(reset[0])}")
        assert page.status_code == 200
        form = {"token": token_in_file(reset[0]), "password": PASSWORD}
        assert "log in" in httpx2.post(f"{usersvc.url}/reset-password", data=form).text
        refreshed = _logged_in(usersvc)

        made = usersvc.run("create-admin", "root@example.org", "--password-stdin", text=f"{OTHER_PASSWORD}\n")
        assert "root@example.org is now an administrator." in made.stdout
        assert f"Database: {usersvc.database}\n" == made.stderr
        assert OTHER_PASSWORD not in made.stdout + made.stderr
        root = _logged_in(usersvc, "root@example.org", OTHER_PASSWORD)
        assert usersvc.me(root["access_token"]).json()["data"]["is_admin"] is True
        assert "administrator" in usersvc.run("create-admin", EMAIL, "--yes").stdout
        assert usersvc.me(refreshed["access_token"]).json()["data"]["role"] == "admin"

        assert usersvc.post("/auth/logout", {"refresh_token": refreshed["refresh_token"]}).status_code == 200
        assert usersvc.me(refreshed["access_token"]).status_code == 401

        assert worker.stop() == 0
        assert "worker stopped" in worker.output
        assert server.stop() == 0
    actions = [action for (action,) in rows("SELECT action FROM audit ORDER BY id")]
    assert {
        *("key.created", "user.registered", "user.activated", "user.logged_in", "user.created"),
        *("user.role_changed", "password.changed", "password.reset", "session.logged_out"),
    } <= set(actions)
    assert rows("SELECT DISTINCT actor_kind FROM audit WHERE action = 'user.created'") == [("operator",)]


def test_huey_purges_by_its_own_clock(usersvc: Usersvc, rows) -> None:
    """No cron: the schedule names every minute here, and what was missed is made up for at the start."""
    usersvc.environ["USERSVC_RETENTION__PURGE_SCHEDULE"] = "* * * * *"
    with usersvc.serving():
        eventually(lambda: rows("SELECT last_slot FROM jobs WHERE name = 'purge_expired'"))
        _activated(usersvc)
        rows("UPDATE link_tokens SET expires_at = '2020-01-01 00:00:00.000000'")
        eventually(lambda: rows("SELECT count(*) FROM link_tokens") == [(0,)], seconds=90)
        purged = rows("SELECT actor_kind, actor_name FROM audit WHERE action = 'data.purged'")
        assert set(purged) == {("job", "purge_expired")}


def test_a_worker_that_starts_late_makes_up_for_the_purge_it_missed(usersvc: Usersvc, rows) -> None:
    usersvc.run("migrate")
    with usersvc.serving() as server:
        _activated(usersvc)
        eventually(lambda: rows("SELECT finished_at FROM jobs WHERE name = 'purge_expired'"))
        assert server.stop() == 0
    rows("UPDATE link_tokens SET expires_at = '2020-01-01 00:00:00.000000'")
    rows("UPDATE jobs SET last_slot = '2020-01-01 00:00:00.000000' WHERE name = 'purge_expired'")
    with usersvc.running("worker"):
        eventually(lambda: rows("SELECT count(*) FROM link_tokens") == [(0,)])


def test_purge_tokens_shows_and_does_what_the_job_does(usersvc: Usersvc, rows) -> None:
    with usersvc.serving() as server:
        _activated(usersvc)
        server.stop()
    rows("UPDATE link_tokens SET expires_at = '2020-01-01 00:00:00.000000'")
    assert '"links": 1' in usersvc.run("purge-tokens", "--dry-run", "--json").stdout
    assert rows("SELECT count(*) FROM link_tokens") == [(1,)]
    assert '"links": 1' in usersvc.run("purge-tokens", "--json").stdout
    assert rows("SELECT count(*) FROM link_tokens") == [(0,)]


def test_a09_fifty_registrations_of_one_address_at_once_make_one_row_and_one_mail(
    usersvc: Usersvc, rows
) -> None:
    """Two API processes, fifty clients on addresses of their own, all at the same moment."""
    together = threading.Barrier(50)

    def register(number: int) -> int:
        source = httpx2.HTTPTransport(local_address=f"127.0.0.{number + 2}")
        with httpx2.Client(transport=source, timeout=PATIENCE_SECONDS) as client:
            together.wait()
            give_up_at = time.monotonic() + 180
            while True:
                body = {"email": EMAIL, "password": PASSWORD}
                response = client.post(f"{usersvc.api}/users", json=body)
                if response.status_code != 503 or time.monotonic() > give_up_at:
                    return response.status_code
                pause = int(response.headers["retry-after"])
                assert pause >= 1
                threading.Event().wait(pause * random.uniform(0.5, 1))

    with usersvc.serving("--workers", "2") as server:
        with ThreadPoolExecutor(50) as pool:
            assert set(pool.map(register, range(50))) == {202}
        [mail] = eventually(usersvc.mails)
        eventually(lambda: rows("SELECT count(*) FROM outbox WHERE status = 'due'") == [(0,)])
        assert usersvc.mails() == [mail]
        assert rows("SELECT count(*) FROM users") == [(1,)]
        assert rows("SELECT kind, status FROM outbox") == [("activation", "sent")]
        assert usersvc.post("/auth/activate", {"token": token_in_file(mail)}).status_code == 200
        assert _logged_in(usersvc)
        assert server.stop() == 0


def test_a31_twenty_refreshes_of_one_token_at_once_give_one_successor(usersvc: Usersvc, rows) -> None:
    together = threading.Barrier(20)

    with usersvc.serving("--workers", "2"):
        _activated(usersvc)
        pair = _logged_in(usersvc)

        def refresh(_: int) -> str:
            together.wait()
            response = usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
            assert response.status_code == 200, response.text
            return str(response.json()["data"]["refresh_token"])

        with ThreadPoolExecutor(20) as pool:
            successors = set(pool.map(refresh, range(20)))
        assert len(successors) == 1
        assert rows("SELECT seq, ended_at FROM sessions") == [(2, None)]
        again = usersvc.post("/auth/refresh", {"refresh_token": successors.pop()})
        assert usersvc.me(again.json()["data"]["access_token"]).status_code == 200


def test_a_kill_between_commit_and_delivery_loses_no_mail(usersvc: Usersvc, rows) -> None:
    """No worker runs, the server is killed at once, the queue is gone too: the outbox has it all."""
    with usersvc.serving("--no-worker") as server:
        for number in range(5):
            body = {"email": f"user{number}@example.org", "password": PASSWORD}
            assert usersvc.post("/users", body).status_code == 202
        server.kill()
    for path in (usersvc.folder / "data").glob("queue.db*"):
        path.unlink()
    assert usersvc.mails() == []
    with usersvc.running("worker"):
        eventually(lambda: rows("SELECT count(*) FROM outbox WHERE status = 'sent'") == [(5,)])
    assert len(usersvc.mails()) == 5


def test_r04_a_mail_whose_worker_was_killed_is_sent_when_its_lease_is_over(usersvc: Usersvc, rows) -> None:
    with usersvc.serving("--no-worker"):
        usersvc.post("/users", {"email": EMAIL, "password": PASSWORD})
    rows("UPDATE outbox SET lease_owner = 'killed', lease_until = '2099-01-01 00:00:00.000000', attempts = 1")
    with usersvc.running("worker") as worker:
        worker.wait_until(lambda: "worker started" in worker.output, "the worker is up")
        rows("UPDATE outbox SET lease_until = '2020-01-01 00:00:00.000000'")
        # Nobody rings: the sweep of the next minute finds it.
        eventually(usersvc.mails, seconds=90)
        assert len(usersvc.mails()) == 1


def test_the_worker_waits_for_the_database(usersvc: Usersvc) -> None:
    with usersvc.running("worker") as worker:
        worker.wait_until(lambda: "waiting for the database" in worker.output, "it waits")
        usersvc.run("migrate")
        worker.wait_until(lambda: "worker started" in worker.output, "it goes on")


def test_a23_nothing_secret_reaches_a_log_or_the_database(usersvc: Usersvc, rows) -> None:
    usersvc.environ["USERSVC_LOG__LEVEL"] = "debug"
    with usersvc.serving() as server:
        usersvc.post("/users", {"email": EMAIL, "password": PASSWORD})
        [mail] = eventually(usersvc.mails)
        token = token_in_file(mail)
        httpx2.get(f"{usersvc.url}/activate?token={token}")
        usersvc.post("/auth/activate", {"token": token})
        pair = _logged_in(usersvc)
        usersvc.me(pair["access_token"])
        usersvc.post("/auth/login", {"email": EMAIL, "password": OTHER_PASSWORD})
        usersvc.post("/auth/logout", {"refresh_token": pair["refresh_token"]})
        server.stop()
        log = server.output
    dump = "\n".join(
        str(row)
        for (table,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        for row in rows(f"SELECT * FROM {table}")
    )
    secret = (usersvc.folder / "data" / "secret.key").read_text(encoding="utf-8").strip()
    for hidden in (
        PASSWORD,
        OTHER_PASSWORD,
        token,
        secret,
        *pair["access_token"].split(".")[2:],
        *pair["refresh_token"].split(".")[2:],
    ):
        assert hidden not in log
        assert hidden not in dump
    assert EMAIL not in log
    assert "a***@example.org" in log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_r27_every_request_that_was_taken_in_is_answered_when_the_server_stops(
    usersvc: Usersvc, rows, workers: str
) -> None:
    """Clients that never retry, each request on a connection of its own, until nobody listens any more.

    A connection that nobody had read from yet may be closed: nothing was done for it then.
    """
    answered: list[int] = []

    def until_refused(number: int) -> None:
        while True:
            body = {"email": f"u{number}@example.org"}
            try:
                response = httpx2.post(
                    f"{usersvc.api}/auth/resend-activation", json=body, timeout=PATIENCE_SECONDS
                )
                answered.append(response.status_code)
            except httpx2.ConnectError:
                return
            except httpx2.TransportError:
                continue

    usersvc.environ["USERSVC_THROTTLE__ENABLED"] = "false"
    with usersvc.serving("--workers", workers) as server, ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(until_refused, number) for number in range(8)]
        threading.Event().wait(1.5)
        assert server.stop() == 0
        for client in clients:
            client.result(timeout=PATIENCE_SECONDS)
    assert set(answered) == {202}
    assert rows("SELECT count(*) FROM outbox WHERE kind = 'resend_activation'") == [(len(answered),)]
