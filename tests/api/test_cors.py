"""Which pages of other origins may call from a browser: none, unless they are named."""

import pytest

from tests.api.conftest import Client, code_of

APP = "https://app.example.org"
PREFLIGHT = {
    "Origin": APP,
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization,content-type",
}


def _allowed_origin(client: Client, origin: str) -> str | None:
    return client.get("/users/me", headers={"Origin": origin}).headers.get("access-control-allow-origin")


@pytest.fixture
def client(make_client) -> Client:
    return make_client(server__cors_origins=f"{APP}, http://localhost:3000")


def test_a83_unless_origins_are_named_no_page_elsewhere_may_call(make_client) -> None:
    client = make_client()
    assert _allowed_origin(client, APP) is None
    answer = client.http.options("/api/v1/users/me", headers=PREFLIGHT)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_origin_may_call_and_read_what_it_needs(client: Client) -> None:
    assert _allowed_origin(client, APP) == APP
    assert _allowed_origin(client, "http://localhost:3000") == "http://localhost:3000"
    headers = client.get("/users/me", headers={"Origin": APP}).headers
    assert headers["access-control-expose-headers"] == "Link, Retry-After, X-Request-ID"
    assert "origin" in headers["vary"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.net",
        "null",
        "https://app.example.org.evil.example.net",
        "https://evilapp.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
    ],
)
def test_a83_any_other_origin_may_not(client: Client, origin: str) -> None:
    assert _allowed_origin(client, origin) is None
    answer = client.http.options("/api/v1/users/me", headers={**PREFLIGHT, "Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_is_answered_with_everything_else_that_an_answer_has(client: Client) -> None:
    answer = client.http.options("/api/v1/users/me", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert int(answer.headers["access-control-max-age"]) <= 600
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]


def test_a83_no_browser_is_told_to_send_credentials_by_itself(client: Client) -> None:
    answers = [
        client.get("/users/me", headers={"Origin": APP}),
        client.http.options("/api/v1/users/me", headers=PREFLIGHT),
    ]
    assert not any("access-control-allow-credentials" in answer.headers for answer in answers)


def test_refusals_can_be_read_too(client: Client) -> None:
    refused = client.http.post("/api/v1/auth/login", content="x", headers={"Origin": APP})
    assert (refused.status_code, code_of(refused)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert refused.headers["access-control-allow-origin"] == APP
