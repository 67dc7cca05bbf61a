"""/metrics: what is counted, what the database tells, and who may read it."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from tests import outbox
from tests.api.conftest import Client
from tests.factories import EMAIL, OPERATOR, PASSWORD, active, deactivated
from tests.metrics import samples, total, value
from usersvc import __version__
from usersvc.api.app import create_app
from usersvc.api.counting import Counts
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.errors import MailRefused
from usersvc.security.hashing_pool import HashingPool
from usersvc.services import health, login, maintenance

TOKEN = "kH7-dR2_wZ9.qB4~"
REQUESTS = "usersvc_http_requests_total"


class Local:
    """A program on the same machine."""

    def __init__(self, core: Core) -> None:
        self.http = TestClient(create_app(core), client=("127.0.0.1", 50000), raise_server_exceptions=False)

    def metrics(self) -> str:
        response = self.http.get("/metrics")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return response.text

    def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> int:
        body = {"email": email, "password": password}
        return self.http.post("/api/v1/auth/login", json=body).status_code


@pytest.fixture
def local(core: Core) -> Local:
    return Local(core)


# -- what the process counts


def test_requests_are_counted_by_template_method_and_status(local: Local) -> None:
    for user_id in ("01a201b2-37f6-71c5-8595-9ace836b8cc1", "01a201b2-37f6-71c5-8595-9ace836b8cc2"):
        local.http.get(f"/api/v1/admin/users/{user_id}")
    for _ in range(3):
        local.http.get("/healthz")
    local.http.head("/healthz")
    local.http.delete("/healthz")
    local.http.get("/static/docs.js")
    text = local.metrics()
    route = "/api/v1/admin/users/{user_id}"
    assert value(text, REQUESTS, method="GET", route=route, status="401") == 2
    assert value(text, REQUESTS, method="GET", route="/healthz", status="200") == 4
    assert value(text, REQUESTS, method="DELETE", route="/healthz", status="405") == 1
    assert value(text, REQUESTS, method="GET", route="/static", status="200") == 1
    assert "01a201b2" not in text
    assert "docs.js" not in text


def test_what_a_stranger_makes_up_makes_no_new_series(local: Local) -> None:
    before = len(samples(local.metrics()))
    for number in range(50):
        local.http.get(f"/nothing/{number}")
        local.http.get(f"/static/{number}.js")
        local.http.request(f"MADE-UP-{number}", "/healthz")
        local.http.request(f"MADE-UP-{number}", f"/nothing/{number}")
        local.http.get("/healthz", headers={"User-Agent": f"agent {number}", "Host": f"h{number}.example"})
        local.http.post("/api/v1/auth/login", content=b"x", headers={"Content-Type": f"text/{number}"})
    text = local.metrics()
    assert total(text, REQUESTS, route="unmatched") == 150
    assert total(text, REQUESTS, method="other") == 100
    of_one_duration = 13 + 3  # buckets, infinity, sum and count
    kinds_of_requests = 7  # of the loop: six, and the first /metrics
    assert len(samples(text)) <= before + kinds_of_requests * (1 + of_one_duration)


def test_every_request_has_its_duration(local: Local) -> None:
    for _ in range(5):
        local.http.get("/healthz")
    text, name = local.metrics(), "usersvc_http_request_duration_seconds"
    assert value(text, f"{name}_count", method="GET", route="/healthz") == 5
    assert value(text, f"{name}_bucket", method="GET", route="/healthz", le="+Inf") == 5
    assert 0 < (value(text, f"{name}_sum", method="GET", route="/healthz") or 0) < 5


def test_a_crash_is_counted_as_what_the_client_got(local: Local, core: Core) -> None:
    del core.hasher
    assert local.log_in() == 500
    text = local.metrics()
    assert value(text, REQUESTS, method="POST", route="/api/v1/auth/login", status="500") == 1
    assert value(text, "usersvc_logins_total", outcome="INTERNAL_ERROR") == 1


def test_a_client_that_leaves_before_there_is_an_answer_is_counted_as_such(core: Core) -> None:
    app = create_app(core)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/v1/auth/logout",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
    }

    async def leave() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pytest.fail(f"there is nobody to hear {message}")

    anyio.run(app, scope, leave, send)
    text = TestClient(app, client=("127.0.0.1", 50000)).get("/metrics").text
    assert value(text, REQUESTS, method="POST", route="unmatched", status="499") == 1


def test_a_file_that_a_process_has_only_just_made_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    assert Counts(tmp_path).exposition() == b""


def test_logins_are_counted_by_outcome(local: Local, core: Core) -> None:
    active(core)
    deactivated(core, "bob@example.org")
    assert local.log_in() == 200
    assert local.log_in() == 200
    assert local.log_in(password="a wrong password") == 401
    assert local.log_in("nobody@example.org") == 401
    assert local.log_in("bob@example.org") == 403
    local.http.post("/api/v1/auth/login", json={"email": EMAIL})
    core.hashing = core.hasher._pool = HashingPool(threads=1, queue=0, per_client=0)
    assert local.log_in() == 503
    text = local.metrics()
    counted = {
        outcome: value(text, "usersvc_logins_total", outcome=outcome)
        for outcome in ("ok", "INVALID_CREDENTIALS", "ACCOUNT_DEACTIVATED", "OVERLOADED", "LOGIN_LOCKED")
    }
    assert counted == {
        "ok": 2,
        "INVALID_CREDENTIALS": 2,
        "ACCOUNT_DEACTIVATED": 1,
        "OVERLOADED": 1,
        "LOGIN_LOCKED": 0,
    }
    assert total(text, "usersvc_logins_total") == 6


def test_the_hashing_queue_is_told_while_it_is_full(make_core: Callable[..., Core]) -> None:
    core = make_core()
    core.hashing = pool = HashingPool(threads=1, queue=1, deadline=30)
    local, gate, inside = Local(core), threading.Event(), threading.Event()

    def job() -> None:
        inside.set()
        gate.wait(30)

    threads = [threading.Thread(target=pool.run, args=(job,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    while pool.waiting < 1:
        threading.Event().wait(0.001)
    with pytest.raises(Exception, match="Too much to do"):
        pool.run(job)
    text = local.metrics()
    assert value(text, "usersvc_hashing_running_jobs") == 1
    assert value(text, "usersvc_hashing_waiting_jobs") == 1
    assert value(text, "usersvc_hashing_turned_away_total") == 1
    gate.set()
    for thread in threads:
        thread.join(30)
    text = local.metrics()
    assert value(text, "usersvc_hashing_running_jobs") == 0
    assert value(text, "usersvc_hashing_waiting_jobs") == 0
    assert value(text, "usersvc_hashing_wait_seconds_count") == 2


def test_one_process_tells_its_own_memory_and_version(local: Local) -> None:
    text = local.metrics()
    assert (value(text, "process_resident_memory_bytes") or 0) > 1e6
    assert value(text, "usersvc_build_info", version=__version__) == 1
    assert value(text, "usersvc_api_processes") == 1


# -- what the database tells


def test_mail_and_workers_are_read_from_the_database_at_the_scrape(
    local: Local, core: Core, clock: MovedClock
) -> None:
    text = local.metrics()
    assert value(text, "usersvc_database_up") == 1
    assert value(text, "usersvc_worker_last_seen_timestamp_seconds") == 0
    assert value(text, "usersvc_purge_last_run_timestamp_seconds") == 0
    assert total(text, "usersvc_outbox_mails") == 0
    assert value(text, "usersvc_outbox_oldest_age_seconds") == 0

    outbox.queue(core)
    core.transport = outbox.Scripted(MailRefused("550 no such user"))
    outbox.deliver(core)
    outbox.queue(core, "bob@example.org")
    health.beat(core)
    counts = maintenance.purge(core, actor=OPERATOR)
    then = clock.now()
    clock.move(minutes=10)
    text = local.metrics()
    mails = {s: value(text, "usersvc_outbox_mails", status=s) for s in ("due", "sent", "failed", "dead")}
    assert mails == {"due": 1, "sent": 0, "failed": 1, "dead": 0}
    assert value(text, "usersvc_outbox_oldest_age_seconds") == 600
    assert value(text, "usersvc_outbox_overdue_seconds") == 600
    assert value(text, "usersvc_worker_last_seen_timestamp_seconds") == then.timestamp()
    assert value(text, "usersvc_purge_last_run_timestamp_seconds") == then.timestamp()
    for kind, rows in counts.items():
        assert value(text, "usersvc_purge_last_deleted_rows", kind=kind) == rows


def test_a_mail_in_the_hands_of_a_worker_is_old_but_not_overdue(
    local: Local, core: Core, clock: MovedClock
) -> None:
    outbox.queue(core)
    clock.move(minutes=1)
    with core.write() as tx:
        tx.outbox.claim_next("a worker", at=tx.now, lease_until=tx.now + timedelta(minutes=5))
    text = local.metrics()
    assert value(text, "usersvc_outbox_oldest_age_seconds") == 60
    assert value(text, "usersvc_outbox_overdue_seconds") == 0


def _delete(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()


def _replace_by_nothing(path: Path) -> None:
    _delete(path)
    path.touch()


def _replace_by_nonsense(path: Path) -> None:
    _delete(path)
    path.write_bytes(b"no database" * 5000)


def _age(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '0000'")


@pytest.mark.sqlite
@pytest.mark.parametrize("break_it", [_delete, _replace_by_nothing, _replace_by_nonsense, _age])
def test_without_a_database_the_process_still_tells_its_own(
    local: Local, core: Core, break_it: Callable[[Path], None]
) -> None:
    local.http.get("/healthz")
    assert value(local.metrics(), "usersvc_database_up") == 1
    if break_it is not _delete:  # Who has it open still reads a deleted file.
        core.database.close()
    break_it(core.database.path)
    text = local.metrics()
    assert value(text, "usersvc_database_up") == 0
    assert value(text, REQUESTS, method="GET", route="/healthz", status="200") == 1
    assert value(text, "usersvc_build_info", version=__version__) == 1
    assert "usersvc_outbox" not in text
    assert "usersvc_worker_last_seen" not in text


def test_no_address_no_id_and_no_secret_is_in_it(local: Local, core: Core) -> None:
    account = active(core)
    local.log_in()
    pair = login.log_in(core, email=EMAIL, password=PASSWORD, actor=OPERATOR)
    local.http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {pair.access_token}"})
    text = local.metrics()
    for told in (EMAIL, EMAIL.partition("@")[0], str(account.id), "127.0.0.1", pair.access_token[:20]):
        assert told not in text


# -- who may read it


def _asks(core: Core, peer: str, **headers: str) -> Any:
    return TestClient(create_app(core), client=(peer, 50000)).get(
        "/metrics", headers={name.replace("_", "-"): said for name, said in headers.items()}
    )


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.5", "::1"])
def test_a_program_on_the_machine_may_read_it(core: Core, peer: str) -> None:
    assert _asks(core, peer).status_code == 200


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "testclient"])
def test_nobody_else_may_without_a_token(core: Core, peer: str) -> None:
    for headers in ({}, {"X_Forwarded_For": "127.0.0.1"}, {"Authorization": "Bearer "}):
        refused = _asks(core, peer, **headers)
        assert refused.status_code == 403
        assert "usersvc_" not in refused.text
        assert "www-authenticate" not in refused.headers


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"])
@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "203.0.113.66"},
        {"X_Forwarded_For": "127.0.0.1, 203.0.113.66"},
        {"X_Forwarded_For": "unknown"},
        {"X_Forwarded_For": ""},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X_Real_IP": "127.0.0.1"},
        {"X_Forwarded_Proto": "https"},
        {"X_Forwarded_Host": "users.example.org"},
    ],
)
def test_a_proxy_on_the_machine_does_not_open_it(
    make_core: Callable[..., Core], trusted: str, headers: dict[str, str]
) -> None:
    assert _asks(make_core(server__trusted_proxies=trusted), "127.0.0.1", **headers).status_code == 403


def test_a_program_on_the_machine_may_come_through_a_trusted_proxy_only(
    make_core: Callable[..., Core],
) -> None:
    trusting, other = make_core(server__trusted_proxies="127.0.0.1"), make_core()
    assert _asks(trusting, "127.0.0.1", X_Forwarded_For="127.0.0.1").status_code == 200
    assert _asks(other, "127.0.0.1", X_Forwarded_For="127.0.0.1").status_code == 403


def test_with_the_token_it_is_read_from_anywhere(make_core: Callable[..., Core]) -> None:
    core = make_core(server__metrics_token=TOKEN)
    for headers in ({}, {"X_Forwarded_For": "203.0.113.66"}):
        assert _asks(core, "192.0.2.7", Authorization=f"Bearer {TOKEN}", **headers).status_code == 200
    assert _asks(core, "192.0.2.7", Authorization=f"bearer {TOKEN}").status_code == 200
    assert _asks(core, "127.0.0.1").status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        "Bearer é",
        TOKEN,
    ],
)
def test_without_the_right_token_it_is_refused(make_core: Callable[..., Core], authorization: str) -> None:
    core = make_core(server__metrics_token=TOKEN)
    http = TestClient(create_app(core), client=("192.0.2.7", 50000))
    refused = http.get("/metrics", headers={"Authorization": authorization.encode()})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "usersvc_" not in refused.text
    assert TOKEN not in refused.text


def test_an_access_token_does_not_open_it(make_client: Callable[..., Client], core: Core) -> None:
    active(core)
    client = make_client(server__metrics_token=TOKEN)
    pair = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}).json()["data"]
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    assert client.http.get("/metrics", headers=headers).status_code == 401


def test_the_document_names_its_answers_but_asks_for_no_second_token(client: Client) -> None:
    document = client.http.get("/openapi.json").json()
    operation = document["paths"]["/metrics"]["get"]
    assert list(document["components"]["securitySchemes"]) == ["Bearer", "Client"], "of users, of services"
    assert "security" not in operation
    assert {"200", "401", "403", "503"} <= set(operation["responses"])
    assert "text/plain" in json.dumps(operation["responses"]["200"])


def test_other_methods_are_answered_as_elsewhere(local: Local) -> None:
    assert local.http.head("/metrics").status_code == 200
    assert local.http.post("/metrics").status_code == 405
