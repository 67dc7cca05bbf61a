"""Tokens for services, introspection and revocation over HTTP, in the form of their standards."""

import base64
from typing import Any
from urllib.parse import quote_plus

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests.conftest import Make
from tests.database import dump
from tests.factories import OPERATOR, active, an_admin, logged_in, signed_in
from tests.forgery import parts_of
from usersvc.api.app import create_app
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.security.credentials import new_credential
from usersvc.services import audiences, service_accounts
from usersvc.services.service_accounts import NewService

# What lies below is tried on every database by tests/services.
pytestmark = pytest.mark.sqlite

GRANT = {"grant_type": "client_credentials"}
SETTINGS = {"tokens__audiences": "billing, files", "server__public_url": "https://users.example.org"}


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core(**SETTINGS)


@pytest.fixture
def http(core: Core) -> TestClient:
    return TestClient(create_app(core), client=("192.0.2.7", 50000))


@pytest.fixture
def service(core: Core) -> NewService:
    return _made(core, "reports")


def _made(core: Core, name: str, **more: Any) -> NewService:
    given: dict[str, Any] = {"permissions": ["a:x", "b:y"], "audiences": ["billing"], **more}
    return service_accounts.create(core, name=name, actor=OPERATOR, **given)


def _auth(service: NewService) -> tuple[str, str]:
    return str(service.credential.client_id), service.credential.client_secret


def _post(http: TestClient, path: str, form: Any, **more: Any) -> Response:
    """Holds each answer to the standards."""
    response = http.post(f"/oauth/{path}", data=form, **more)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-request-id"]
    if response.status_code >= 400:
        assert set(response.json()) == {"error", "error_description"}
        assert response.json()["error_description"].isascii()
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Basic ")
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return response


def _error(response: Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def test_a_service_gets_a_token_of_its_own(http: TestClient, core: Core, service: NewService) -> None:
    response = _post(http, "token", GRANT, auth=_auth(service))
    assert (response.status_code, response.headers["pragma"]) == (200, "no-cache")
    body = response.json()
    token = body.pop("access_token")
    assert body == {"token_type": "Bearer", "expires_in": 600, "scope": "a:x b:y"}
    header, claims = parts_of(token)[:2]
    now = int(core.clock.now().timestamp())
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://users.example.org",
        "aud": "billing",
        **dict.fromkeys(("sub", "client_id"), str(service.service.id)),
        "credential_id": str(service.credential.id),
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "permissions": ["a:x", "b:y"],
        "scope": "a:x b:y",
    }
    for method, path in (("GET", "/users/me"), ("GET", "/admin/users"), ("POST", "/auth/logout-all")):
        found = http.request(method, f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
        assert (found.status_code, found.json()["error"]["code"]) == (401, "INVALID_TOKEN")


def test_a_token_has_no_more_than_was_asked_for_and_no_longer_life_than_its_secret(
    http: TestClient, core: Core, clock: MovedClock
) -> None:
    two = _made(core, "two", audiences=["files", "billing"], expires_days=1)
    for form, claims in (
        ({"scope": "b:y", "audience": "files"}, {"aud": "files", "permissions": ["b:y"], "scope": "b:y"}),
        ({"scope": "b:y a:x b:y", "resource": "billing"}, {"aud": "billing", "scope": "a:x b:y"}),
        ({"scope": "", "resource": ["files", "files"], "audience": "files"}, {"scope": "a:x b:y"}),
    ):
        response = _post(http, "token", {**GRANT, **form}, auth=_auth(two))
        found = parts_of(response.json()["access_token"])[1]
        assert {name: found[name] for name in claims} == claims
        assert response.json()["scope"] == found["scope"]
    clock.move(hours=23, minutes=55)
    response = _post(http, "token", {**GRANT, "audience": "files"}, auth=_auth(two))
    assert response.json()["expires_in"] == 300
    bare = _made(core, "bare", permissions=[])
    response = _post(http, "token", GRANT, auth=_auth(bare))
    assert "scope" not in response.json()
    assert parts_of(response.json()["access_token"])[1]["permissions"] == []


WRONG: list[tuple[Any, str]] = [
    ({}, "invalid_request"),
    ({"grant_type": ""}, "invalid_request"),
    ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": ["client_credentials", "client_credentials"]}, "invalid_request"),
    ({**GRANT, "scope": ["a:x", "a:x"]}, "invalid_request"),
    ({**GRANT, "scope": "a:x c:z"}, "invalid_scope"),
    ({**GRANT, "scope": "users:read"}, "invalid_scope"),
    ({**GRANT, "scope": "a:x  b:y"}, "invalid_scope"),
    ({**GRANT, "audience": "files"}, "invalid_target"),
    ({**GRANT, "audience": "usersvc"}, "invalid_target"),
    ({**GRANT, "audience": "billing", "resource": "files"}, "invalid_target"),
    ({**GRANT, "resource": ["billing", "files"]}, "invalid_target"),
    ({**GRANT, **{f"x{n}": "1" for n in range(30)}}, "invalid_request"),
    (b"\xff", "invalid_request"),
]


def test_a_wrong_request_is_refused_in_the_words_of_the_standards(
    http: TestClient, service: NewService
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for form, error in WRONG:
        more: dict[str, Any] = {"content": form} if isinstance(form, bytes) else {"data": form}
        response = http.post("/oauth/token", auth=_auth(service), headers=headers, **more)
        assert _error(response) == (400, error), form
        assert "users:read" not in response.text


def test_a_client_without_one_audience_names_it(http: TestClient, core: Core, make_core: Make) -> None:
    for name, named in (("none", []), ("both", ["billing", "files"])):
        auth = _auth(_made(core, name, audiences=named))
        assert _error(_post(http, "token", GRANT, auth=auth)) == (400, "invalid_target")
    left = TestClient(create_app(make_core(**{**SETTINGS, "tokens__audiences": "files"})))
    assert _post(left, "token", GRANT, auth=auth).status_code == 200
    assert _error(_post(left, "token", {**GRANT, "audience": "billing"}, auth=auth)) == (
        400,
        "invalid_target",
    )


def test_a_client_says_who_it_is_in_one_of_two_ways(http: TestClient, service: NewService) -> None:
    client_id, secret = _auth(service)
    in_form = {"client_id": client_id, "client_secret": secret}
    encoded = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
    escaped = base64.b64encode(f"{client_id}:%75{secret[1:]}".encode()).decode()
    assert _post(http, "token", {**GRANT, **in_form}).status_code == 200
    for header in (f"Basic {encoded}", f"basic  {encoded}", f"Basic {escaped}"):
        headers = {"Authorization": header}
        assert _post(http, "token", GRANT, headers=headers).status_code == 200
        assert _post(http, "token", {**GRANT, "client_id": client_id}, headers=headers).status_code == 200
        for form in (in_form, {"client_secret": secret}, {"client_id": "other"}):
            assert _error(_post(http, "token", {**GRANT, **form}, headers=headers)) == (
                400,
                "invalid_request",
            )
    for header in (
        "",
        "Basic",
        "Basic x",
        "Basic é".encode(),
        f"Basic {encoded[:-3]}",
        "Bearer x",
        "Basic Og==",
    ):
        response = _post(http, "token", GRANT, headers={"Authorization": header})
        assert _error(response) == (401, "invalid_client"), header
    two = [("Authorization", f"Basic {encoded}")] * 2
    assert _error(_post(http, "token", GRANT, headers=two)) == (400, "invalid_request")
    response = http.post("/oauth/token", json={**GRANT, **in_form})
    assert _error(response) == (400, "invalid_request")
    assert _error(http.post("/oauth/token", files={"grant_type": (None, "x")})) == (400, "invalid_request")


def test_failures_are_throttled_and_nobody_locks_a_service_out(
    http: TestClient, core: Core, service: NewService, clock: MovedClock
) -> None:
    client_id, secret = _auth(service)
    for _ in range(5):
        assert _error(_post(http, "token", GRANT, auth=(client_id, new_credential())))[0] == 401
    before = dump(core)
    throttled = _post(http, "token", GRANT, auth=(client_id, new_credential()))
    assert _error(throttled) == (429, "temporarily_unavailable")
    assert throttled.headers["retry-after"] == "60"
    assert dump(core) == before
    assert _post(http, "token", GRANT, auth=(client_id, secret)).status_code == 200
    assert _error(_post(http, "token", GRANT, auth=(client_id, secret[:-1] + "!")))[0] == 401
    clock.move(seconds=60)
    assert _error(_post(http, "introspect", {"token": "x"}, auth=(client_id, new_credential())))[0] == 401
    for number in range(24):
        assert _error(_post(http, "revoke", {"token": "x"}, auth=(f"x{number}", new_credential())))[0] == 401
    assert _error(_post(http, "token", GRANT, auth=("unknown", new_credential())))[0] == 429
    elsewhere = TestClient(create_app(core), client=("192.0.2.8", 50000))
    assert _error(_post(elsewhere, "token", GRANT, auth=("unknown", new_credential())))[0] == 401
    assert _post(http, "token", GRANT, auth=(client_id, secret)).status_code == 200


def test_what_no_use_case_answers_is_told_in_the_same_form(
    http: TestClient, core: Core, service: NewService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(type(core.tokens), "sign_service", crash)
    found = TestClient(create_app(core), raise_server_exceptions=False)
    assert _error(_post(found, "token", GRANT, auth=_auth(service))) == (500, "server_error")
    assert "boom" not in found.get("/oauth/token").text
    too_large = _post(http, "introspect", {"token": "x" * 70_000}, auth=_auth(service))
    assert _error(too_large) == (413, "invalid_request")
    assert _error(http.get("/oauth/introspect")) == (405, "invalid_request")
    assert _error(http.get("/oauth/x")) == (404, "invalid_request")


def test_introspection_answers_as_rfc_7662_says(http: TestClient, core: Core, service: NewService) -> None:
    account = an_admin(core)
    actor = signed_in(core, account.email)
    token = audiences.issue_token(core, audience="billing", actor=actor).access_token
    claims = parts_of(token)[1]
    held = ["content:manage", "users:read", "users:write", "roles:write", "audit:read"]
    found = _post(http, "introspect", {"token": token, "token_type_hint": "x"}, auth=_auth(service)).json()
    permissions = found.pop("permissions")
    assert set(held) <= set(permissions)
    assert found.pop("scope") == " ".join(permissions)
    same = ("exp", "iat", "sub", "aud", "iss", "jti", "sid", "role", "client_id")
    assert found == {"active": True, "token_type": "Bearer", **{name: claims[name] for name in same}}
    own = _post(http, "token", GRANT, auth=_auth(service)).json()["access_token"]
    found = _post(http, "introspect", {"token": own}, auth=_auth(service)).json()
    assert (found["active"], found["sub"], found["scope"]) == (True, str(service.service.id), "a:x b:y")
    assert not {"sid", "role"} & set(found)
    for wrong in ("x", logged_in(core, account.email).access_token, "\u00e9"):
        response = _post(http, "introspect", {"token": wrong}, auth=_auth(service))
        assert response.json() == {"active": False}
    assert _error(_post(http, "introspect", {}, auth=_auth(service))) == (400, "invalid_request")


def test_revocation_answers_as_rfc_7009_says(http: TestClient, core: Core, service: NewService) -> None:
    active(core)
    own = _post(http, "token", GRANT, auth=_auth(service)).json()["access_token"]
    users = audiences.issue_token(core, audience="billing", actor=signed_in(core)).access_token
    for token in (own, own, "unknown"):
        response = _post(http, "revoke", {"token": token}, auth=_auth(service))
        assert (response.status_code, response.content) == (200, b"")
    assert _post(http, "introspect", {"token": own}, auth=_auth(service)).json() == {"active": False}
    assert _error(_post(http, "revoke", {"token": users}, auth=_auth(service))) == (
        400,
        "unauthorized_client",
    )
    service_accounts.change(core, service_id=service.service.id, may_end_sessions=True, actor=OPERATOR)
    assert _post(http, "revoke", {"token": users}, auth=_auth(service)).status_code == 200
    assert _post(http, "introspect", {"token": users}, auth=_auth(service)).json() == {"active": False}
    assert _error(_post(http, "revoke", {}, auth=_auth(service))) == (400, "invalid_request")


def test_the_metadata_names_what_is_served(http: TestClient, core: Core) -> None:
    response = http.get("/.well-known/oauth-authorization-server")
    assert response.headers["cache-control"] == "public, max-age=300"
    found = response.json()
    assert found["issuer"] == core.settings.issuer
    served = http.get("/openapi.json").json()["paths"]
    for name, address in found.items():
        if name.endswith(("_endpoint", "_uri")):
            assert address.removeprefix("https://users.example.org") in served
    assert found["grant_types_supported"] == ["client_credentials"]
    assert found["response_types_supported"] == []
