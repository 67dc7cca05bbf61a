"""The bearer's own account and sessions."""

import uuid

import pytest

from tests.api.conftest import Client, code_of
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, active, audit_rows, logged_in, rewrite_user
from usersvc.clock import MovedClock
from usersvc.core import Core


@pytest.fixture
def token(core: Core) -> str:
    active(core, username="ada")
    return logged_in(core).access_token


def test_a_username_can_be_changed(client: Client, core: Core, token: str) -> None:
    changed = client.call("PATCH", "/users/me", json={"username": "Lovelace"}, token=token)
    assert (changed.status_code, changed.json()["data"]["username"]) == (200, "lovelace")
    assert client.get("/users/me", token=token).json()["data"]["username"] == "lovelace"
    [entry] = audit_rows(core, "user.renamed")
    assert entry.detail == {"before": "ada", "after": "lovelace"}
    assert entry.actor_id == entry.target_id
    # The old one is free again.
    assert active(core, "bob@example.org", username="ada").username == "ada"


def test_a_taken_or_impossible_username_changes_nothing(client: Client, core: Core, token: str) -> None:
    active(core, "bob@example.org", username="bob")
    taken = client.call("PATCH", "/users/me", json={"username": "BOB"}, token=token)
    assert (taken.status_code, code_of(taken)) == (409, "USERNAME_TAKEN")
    wrong = client.call("PATCH", "/users/me", json={"username": "b!"}, token=token)
    assert (wrong.status_code, code_of(wrong)) == (422, "INVALID_USERNAME")
    assert client.get("/users/me", token=token).json()["data"]["username"] == "ada"
    assert client.call("PATCH", "/users/me", json={"username": "Ada"}, token=token).status_code == 200
    assert audit_rows(core, "user.renamed") == []


@pytest.mark.parametrize(
    "field", ["role", "status", "email", "id", "email_verified", "password_hash", "is_admin"]
)
def test_a50_nothing_else_can_be_changed(client: Client, token: str, field: str) -> None:
    before = client.get("/users/me", token=token).json()["data"]
    response = client.call("PATCH", "/users/me", json={"username": "ada2", field: "admin"}, token=token)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")
    assert client.get("/users/me", token=token).json()["data"] == before


def test_sessions_are_listed_the_current_one_marked(
    client: Client, core: Core, token: str, clock: MovedClock
) -> None:
    clock.move(minutes=1)
    other = client.post(
        "/auth/login", json={"email": EMAIL, "password": PASSWORD}, headers={"User-Agent": "Phone/1"}
    ).json()["data"]
    listed = client.get("/users/me/sessions", token=token).json()["data"]
    assert [(s["device"], s["ip"], s["current"]) for s in listed] == [
        ("Phone/1", "192.0.2.7", False),
        ("pytest", "192.0.2.1", True),
    ]
    assert set(listed[0]) == {"id", "device", "ip", "created_at", "last_used_at", "current"}
    clock.move(minutes=1)
    refreshed = client.post("/auth/refresh", json={"refresh_token": other["refresh_token"]}).json()["data"]
    listed = client.get("/users/me/sessions", token=refreshed["access_token"]).json()["data"]
    assert [s["current"] for s in listed] == [True, False]
    assert listed[0]["last_used_at"] > listed[0]["created_at"]


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("curl\x9b2J/8", "curlÂ 2J/8"),
        ("curl\u202e/8", "curlâ ®/8"),
        ("café/1\xad", "cafÃ©/1Â"),
    ],
)
def test_a_device_is_kept_without_what_would_move_a_terminal(
    client: Client, token: str, agent: str, device: str
) -> None:
    """What is no ASCII arrives as Latin-1, whatever it was."""
    agent_header = {"User-Agent": agent.encode()}
    client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}, headers=agent_header)
    listed = client.get("/users/me/sessions", token=token).json()["data"]
    assert {s["device"] for s in listed} == {"pytest", device}


def test_who_names_no_device_has_none(client: Client, token: str) -> None:
    del client.http.headers["user-agent"]
    client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    listed = client.get("/users/me/sessions", token=token).json()["data"]
    assert {s["device"] for s in listed} == {"pytest", None}


def test_a59_ending_a_session_acts_at_once_and_once(client: Client, core: Core, token: str) -> None:
    other = logged_in(core)
    [ended] = [s for s in client.get("/users/me/sessions", token=token).json()["data"] if not s["current"]]
    path = f"/users/me/sessions/{ended['id']}"
    assert _delete(client, path, token).status_code == 200
    assert code_of(client.get("/users/me", token=other.access_token)) == "SESSION_ENDED"
    assert (
        code_of(client.post("/auth/refresh", json={"refresh_token": other.refresh_token})) == "SESSION_ENDED"
    )
    assert len(client.get("/users/me/sessions", token=token).json()["data"]) == 1
    again = _delete(client, path, token)
    assert (again.status_code, code_of(again)) == (404, "SESSION_NOT_FOUND")
    assert len(audit_rows(core, "session.ended")) == 1


def test_a52_another_ones_session_is_as_one_that_does_not_exist(
    client: Client, core: Core, token: str
) -> None:
    active(core, "bob@example.org", OTHER_PASSWORD)
    bob = logged_in(core, "bob@example.org", OTHER_PASSWORD)
    [of_bob] = client.get("/users/me/sessions", token=bob.access_token).json()["data"]
    for session_id in (of_bob["id"], uuid.uuid4()):
        response = _delete(client, f"/users/me/sessions/{session_id}", token)
        assert (response.status_code, code_of(response)) == (404, "SESSION_NOT_FOUND")
    assert client.get("/users/me", token=bob.access_token).status_code == 200
    assert code_of(_delete(client, "/users/me/sessions/1", token)) == "VALIDATION_ERROR"


def test_one_can_end_the_session_one_is_in(client: Client, token: str) -> None:
    [mine] = client.get("/users/me/sessions", token=token).json()["data"]
    assert _delete(client, f"/users/me/sessions/{mine['id']}", token).status_code == 200
    assert code_of(client.get("/users/me", token=token)) == "SESSION_ENDED"


def test_ended_and_expired_sessions_are_not_listed(
    client: Client, core: Core, clock: MovedClock, token: str
) -> None:
    logged_in(core)
    clock.move(days=15)
    fresh = logged_in(core)
    assert len(client.get("/users/me/sessions", token=fresh.access_token).json()["data"]) == 1


def test_of_more_than_twenty_sessions_the_least_recently_used_ends(
    client: Client, core: Core, clock: MovedClock, token: str
) -> None:
    for _ in range(20):
        clock.move(seconds=1)
        newest = logged_in(core)
    listed = client.get("/users/me/sessions", token=newest.access_token).json()["data"]
    assert len(listed) == 20
    assert code_of(client.get("/users/me", token=token)) == "SESSION_ENDED"


def test_a30_a_deactivated_account_does_nothing_more(client: Client, core: Core, token: str) -> None:
    # Deactivating is a use case of its own; the row is what it leaves.
    rewrite_user(core, status="deactivated")
    for response in (
        client.get("/users/me", token=token),
        client.get("/users/me/sessions", token=token),
        client.call("PATCH", "/users/me", json={"username": "x-x"}, token=token),
    ):
        assert code_of(response) == "SESSION_ENDED"


def _delete(client: Client, path: str, token: str):
    return client.call("DELETE", path, token=token, template="/users/me/sessions/{session_id}")
