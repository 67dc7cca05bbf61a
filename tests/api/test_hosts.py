"""Which hosts a request may name."""

import pytest

from tests.api.conftest import Client, code_of

pytestmark = pytest.mark.sqlite  # what is refused here meets no database


def _status(client: Client, host: str, path: str = "/api/v1/users/me") -> int:
    return client.http.get(path, headers={"Host": host}).status_code


@pytest.fixture
def client(make_client) -> Client:
    return make_client(
        server__public_url="https://users.example.org",
        server__allowed_hosts="users.example.org, *.intern.example, 2001:db8::1",
    )


@pytest.mark.parametrize(
    "host",
    [
        "users.example.org",
        "USERS.Example.org",
        "users.example.org:443",
        "users.example.org.",
        "a.intern.example",
        "a.b.intern.example:8000",
        "[2001:db8::1]",
        "[2001:db8::1]:8000",
    ],
)
def test_a_host_that_is_named_is_served(client: Client, host: str) -> None:
    assert _status(client, host) == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.net",
        "intern.example",
        "evilintern.example",
        "users.example.org.evil.example.net",
        "users.example.org@evil.example.net",
        "users.example.org:443:1",
        "127.0.0.1",
        "",
    ],
)
def test_a26_any_other_is_refused(client: Client, host: str) -> None:
    answer = client.http.get("/api/v1/users/me", headers={"Host": host})
    assert (answer.status_code, code_of(answer)) == (421, "MISDIRECTED_REQUEST")
    assert _status(client, host, "/activate?token=x") == 421


def test_a_preflight_for_any_other_is_refused_like_any_request(make_client) -> None:
    client = make_client(
        server__public_url="https://users.example.org",
        server__allowed_hosts="users.example.org",
        server__cors_origins="https://app.example.org",
    )
    preflight = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "PATCH"}
    for host, status in (("users.example.org", 200), ("evil.example.net", 421)):
        answer = client.http.options("/api/v1/users/me", headers={**preflight, "Host": host})
        assert answer.status_code == status
        assert answer.headers["x-request-id"]


def test_probes_may_call_by_any_name(client: Client) -> None:
    assert _status(client, "10.0.0.7:8000", "/healthz") == 200
    assert _status(client, "10.0.0.7:8000", "/readyz") == 200


def test_unless_hosts_are_named_any_is_served(make_client) -> None:
    assert _status(make_client(), "anything.example.net") == 401


def test_a_request_that_names_two_hosts_is_refused(make_client) -> None:
    answer = make_client().http.get(
        "/healthz", headers=[("Host", "users.example.org"), ("Host", "evil.example.net")]
    )
    assert (answer.status_code, code_of(answer)) == (400, "BAD_REQUEST")
