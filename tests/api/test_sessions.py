"""Logging in, continuing, looking, logging out over HTTP."""

from datetime import timedelta

import pytest

from tests.api.conftest import Client, code_of
from tests.database import locked
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, active, pending
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.security.hashing_pool import HashingPool
from usersvc.security.passwords import PasswordHasher


@pytest.fixture
def pair(client: Client, core: Core) -> dict[str, str]:
    active(core)
    response = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert response.status_code == 200
    return response.json()["data"]


def test_a_login_gives_a_pair_with_its_life(pair: dict[str, object]) -> None:
    assert pair["token_type"] == "bearer"
    assert pair["expires_in"] == 600
    assert pair["refresh_expires_in"] == 14 * 24 * 3600


def test_a10_whoever_cannot_log_in_gets_one_answer(client: Client, core: Core) -> None:
    active(core)
    pending(core, "bob@example.org")
    answers = [
        client.post("/auth/login", json={"email": email, "password": password})
        for email, password in [
            (EMAIL, OTHER_PASSWORD),
            ("nobody@example.org", PASSWORD),
            ("bob@example.org", PASSWORD),
            ("no address", PASSWORD),
            (EMAIL, "x" * 5000),
        ]
    ]
    assert {(r.status_code, code_of(r)) for r in answers} == {(401, "INVALID_CREDENTIALS")}
    assert len({r.text for r in answers}) == 1
    assert len({str({k: v for k, v in r.headers.items() if k != "x-request-id"}) for r in answers}) == 1


def test_the_bearer_sees_himself(client: Client, pair: dict[str, str]) -> None:
    response = client.get("/users/me", token=pair["access_token"])
    assert response.status_code == 200
    assert response.json()["data"]["email"] == EMAIL
    assert "password" not in response.text


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 9000, "é"])
def test_what_is_no_token_is_refused(client: Client, token: str) -> None:
    response = client.get("/users/me", headers={"Authorization": f"Bearer {token}".encode()})
    assert (response.status_code, code_of(response)) == (401, "INVALID_TOKEN")


def test_without_a_token_nobody_is_anybody(client: Client) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        refused = client.get("/users/me", headers=headers)
        assert code_of(refused) == "INVALID_TOKEN"
        assert refused.json()["error"]["message"] == "Send an access token: Authorization: Bearer TOKEN"


def test_a71_a_refresh_token_opens_no_route_and_an_access_token_continues_nothing(
    client: Client, pair: dict[str, str]
) -> None:
    assert code_of(client.get("/users/me", token=pair["refresh_token"])) == "INVALID_TOKEN"
    assert (
        code_of(client.post("/auth/refresh", json={"refresh_token": pair["access_token"]})) == "INVALID_TOKEN"
    )


def test_refreshing_gives_a_new_pair_and_a_repeated_one_the_same(
    client: Client, pair: dict[str, str]
) -> None:
    body = {"refresh_token": pair["refresh_token"]}
    first, second = client.post("/auth/refresh", json=body), client.post("/auth/refresh", json=body)
    assert first.status_code == second.status_code == 200
    assert (
        first.json()["data"]["refresh_token"]
        == second.json()["data"]["refresh_token"]
        != pair["refresh_token"]
    )
    assert client.get("/users/me", token=second.json()["data"]["access_token"]).status_code == 200


def test_a31c_a_copied_token_ends_the_session(
    client: Client, pair: dict[str, str], clock: MovedClock
) -> None:
    newest = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}).json()["data"]
    clock.move(seconds=11)
    reused = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    assert (reused.status_code, code_of(reused)) == (401, "TOKEN_REUSED")
    ended = client.post("/auth/refresh", json={"refresh_token": newest["refresh_token"]})
    assert (ended.status_code, code_of(ended)) == (401, "SESSION_ENDED")
    assert code_of(client.get("/users/me", token=newest["access_token"])) == "SESSION_ENDED"


def test_tokens_expire(client: Client, pair: dict[str, str], clock: MovedClock) -> None:
    clock.move(minutes=10, seconds=31)
    assert code_of(client.get("/users/me", token=pair["access_token"])) == "TOKEN_EXPIRED"
    clock.move(days=14)
    expired = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    assert (expired.status_code, code_of(expired)) == (401, "TOKEN_EXPIRED")


def test_a27_logging_out_acts_at_once_and_can_be_repeated(client: Client, pair: dict[str, str]) -> None:
    body = {"refresh_token": pair["refresh_token"]}
    assert [client.post("/auth/logout", json=body).status_code for _ in range(2)] == [200, 200]
    assert code_of(client.get("/users/me", token=pair["access_token"])) == "SESSION_ENDED"
    assert code_of(client.post("/auth/refresh", json=body)) == "SESSION_ENDED"
    assert client.post("/auth/logout", json={"refresh_token": "unknown"}).json()["data"] is None


def test_logging_out_everywhere_ends_all_sessions(client: Client, pair: dict[str, str]) -> None:
    other = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}).json()["data"]
    response = client.post("/auth/logout-all", token=pair["access_token"])
    assert response.json()["data"] == {"sessions_ended": 2}
    for tokens in (pair, other):
        assert code_of(client.get("/users/me", token=tokens["access_token"])) == "SESSION_ENDED"
    assert code_of(client.post("/auth/logout-all", token=pair["access_token"])) == "SESSION_ENDED"


def test_a29_a_login_with_another_ones_token_beside_it_is_a_session_of_its_own(
    client: Client, core: Core, pair: dict[str, str]
) -> None:
    active(core, "bob@example.org", OTHER_PASSWORD)
    body = {"email": "bob@example.org", "password": OTHER_PASSWORD}
    login = client.post("/auth/login", json=body, token=pair["access_token"]).json()["data"]
    assert client.get("/users/me", token=login["access_token"]).json()["data"]["email"] == "bob@example.org"
    assert client.get("/users/me", token=pair["access_token"]).json()["data"]["email"] == EMAIL


def test_a29_a_token_in_the_query_is_not_looked_at(client: Client, pair: dict[str, str]) -> None:
    response = client.http.get(f"/api/v1/users/me?access_token={pair['access_token']}")
    assert response.status_code == 401


def test_when_hashing_has_no_room_a_login_is_told_so(client: Client, core: Core) -> None:
    active(core)
    full = HashingPool(threads=1, queue=0, per_client=0)
    core.hasher = PasswordHasher(full, cost=10)
    response = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert (response.status_code, code_of(response)) == (503, "OVERLOADED")
    full.close()


def test_r13_under_another_writers_lock_reads_go_on_and_writes_are_told_to_wait(
    client: Client, core: Core, pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(core):
        assert client.get("/users/me", token=pair["access_token"]).status_code == 200
        busy = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        assert (busy.status_code, code_of(busy)) == (503, "DATABASE_BUSY")
    again = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    assert again.status_code == 200


def test_the_session_outlives_the_access_token(
    client: Client, pair: dict[str, str], clock: MovedClock
) -> None:
    clock.at += timedelta(days=13)
    fresh = client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}).json()["data"]
    assert client.get("/users/me", token=fresh["access_token"]).status_code == 200
