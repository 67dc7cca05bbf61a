"""`GET /admin/audit`: pages, what is refused, who may, and that nothing changes an entry."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx2 import Response

from tests.api.conftest import Client, code_of
from tests.factories import EMAIL, PASSWORD, active, an_admin, audit_rows, logged_in
from usersvc.clock import MovedClock
from usersvc.core import Core

AUDIT = "/admin/audit"
ROOT = "root@example.org"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock(datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.fixture
def token(core: Core) -> str:
    an_admin(core, ROOT)
    return logged_in(core, ROOT).access_token


@pytest.fixture
def read(client: Client, token: str):
    def read(**query: Any) -> Response:
        return client.get(AUDIT, token=token, params=query)

    return read


def _next(response: Response) -> str | None:
    link = re.fullmatch(
        r'<http://127\.0\.0\.1:8000/api/v1(\S+)>; rel="next"', response.headers.get("link", "")
    )
    return link[1] if link else None


def test_an_entry_has_what_is_documented(core: Core, client: Client, read) -> None:
    failed = client.post("/auth/login", json={"email": ROOT, "password": "wrong"})
    [entry] = read(action="user.login_failed").json()["data"]
    [row] = audit_rows(core, "user.login_failed")
    assert entry == {
        "id": str(row.id),
        "at": "2026-11-22T12:00:00Z",
        "actor_kind": "anonymous",
        "actor_id": None,
        "actor_name": None,
        "action": "user.login_failed",
        "target_id": str(row.target_id),
        "ip": "192.0.2.7",
        "outcome": "INVALID_CREDENTIALS",
        "request_id": failed.headers["x-request-id"],
        "detail": {},
    }
    [made] = read(action="user.created").json()["data"]
    assert (made["actor_kind"], made["actor_name"]) == ("operator", "tester")
    assert made["detail"] == {"role": "admin"}
    assert [entry["id"] for entry in read(actor="operator").json()["data"]] == [made["id"]]


def test_a54_the_audit_holds_no_address_and_no_secret(core: Core, client: Client, read) -> None:
    active(core)
    client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    client.post("/auth/forgot-password", json={"email": EMAIL})
    shown = read(limit=100).text
    for secret in (EMAIL, ROOT, PASSWORD, "eyJ", "$2b$", "token="):
        assert secret not in shown


def test_the_link_leads_through_all_pages_with_the_same_filters(
    core: Core, client: Client, token: str, clock: MovedClock, read
) -> None:
    for _ in range(5):
        clock.move(seconds=1)
        client.post("/auth/login", json={"email": ROOT, "password": "wrong"})
    query = {
        "action": "user.",
        "since": "2026-11-22T14:00:02+02:00",
        "until": "2026-11-22T12:00:05Z",
        "limit": 1,
    }
    response, found = read(**query), []
    while True:
        found += [entry["at"] for entry in response.json()["data"]]
        if (path := _next(response)) is None:
            break
        response = client.get(path, token=token, template=AUDIT)
    assert found == [f"2026-11-22T12:00:0{second}Z" for second in (4, 3, 2)]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "101"},
        {"limit": "1e9"},
        {"limit": "abc"},
        {"offset": "10"},
        {"sort": "-at"},
        {"outcome": "ok"},
        {"since": "2026-11-22T12:00:00"},
        {"since": "2026-11-23"},
        {"since": "1795348800"},
        {"until": "2026-11-22T12:00:00 02:00"},
        {"until": "2026-13-22T12:00:00Z"},
        {"until": "2026-11-22T12:00:00Z\n"},
        {"until": "yesterday"},
        {"target": "ada"},
        {"target": EMAIL},
        {"actor": ""},
        {"actor": "somebody"},
        {"actor": "\0"},
        {"action": "user"},
        {"action": "User.created"},
        {"action": "user.' OR 1=1"},
        {"action": "user.login_failt"},
        {"action": "nothing."},
        {"action": "."},
        {"action": "user." + "x" * 48},
    ],
    ids=str,
)
def test_a62_what_is_wrong_in_the_query_is_named_and_not_echoed(read, query: dict[str, str]) -> None:
    response = read(**query)
    [(name, value)] = query.items()
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")
    [problem] = response.json()["error"]["fields"]
    assert problem["field"] == name
    if len(value) > 4:
        assert value not in problem["message"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"])
def test_times_at_the_ends_of_the_calendar_are_times(read, at: str) -> None:
    assert read(since=at).status_code == read(until=at).status_code == 200


def test_a62_a_cursor_of_something_else_is_refused(client: Client, token: str, read) -> None:
    client.post("/auth/login", json={"email": ROOT, "password": "wrong"})
    path = _next(read(limit=1))
    assert path
    cursor = path.partition("cursor=")[2]
    of_users = _next(client.get("/admin/users", token=token, params={"limit": 1}))
    assert of_users is None
    for query in ({"cursor": "x"}, {"cursor": cursor, "action": "user."}, {"cursor": f"{cursor}A"}):
        response = read(**query)
        assert (response.status_code, code_of(response)) == (422, "INVALID_CURSOR")
    assert read(limit=1, cursor=cursor).status_code == 200


def test_a52_who_is_no_administrator_reads_nothing(core: Core, client: Client) -> None:
    account = active(core)
    token = logged_in(core).access_token
    for query in ({}, {"actor": str(account.id)}, {"target": str(account.id)}):
        response = client.get(AUDIT, token=token, params=query)
        assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")
    assert client.get(AUDIT).status_code == 401
    assert client.get(AUDIT, token="x").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a69_no_route_changes_or_deletes_an_entry(
    core: Core, client: Client, token: str, method: str
) -> None:
    [entry] = audit_rows(core, "user.created")
    for path in (AUDIT, f"{AUDIT}/{entry.id}"):
        response = client.http.request(
            method, f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, json={}
        )
        assert response.status_code in (404, 405)
    assert audit_rows(core, "user.created") == [entry]
    paths = client.http.get("/openapi.json").json()["paths"]
    assert {path: list(methods) for path, methods in paths.items() if "audit" in path} == {
        "/api/v1/admin/audit": ["get"]
    }
