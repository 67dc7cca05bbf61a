"""The outermost layer: one body, one set of headers, whatever happens."""

import json

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import Client, code_of
from tests.factories import active, logged_in
from usersvc.api.app import create_app
from usersvc.core import Core

pytestmark = pytest.mark.sqlite  # what is refused here meets no database

EVERYWHERE = ("/api/v1/nothing", "/nothing", "/healthz", "/readyz", "/activate", "/docs", "/openapi.json")
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", EVERYWHERE)
def test_a78_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    headers = client.http.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_over_https_browsers_are_told_to_stay_there(make_core) -> None:
    core = make_core(server__public_url="https://users.example.org")
    headers = TestClient(create_app(core)).get("/healthz").headers
    assert headers["strict-transport-security"] == "max-age=31536000"


def test_static_files_may_be_cached(client: Client) -> None:
    assert client.http.get("/static/pages.css").headers["cache-control"] == "public, max-age=3600"
    assert client.http.get("/static/none.css").headers["cache-control"] == "no-store"


def test_an_unknown_route_answers_in_the_envelope(client: Client) -> None:
    response = client.get("/nothing")
    assert response.status_code == 404
    assert code_of(response) == "NOT_FOUND"


def test_a79_an_undeclared_method_is_refused_and_the_right_one_named(client: Client) -> None:
    for method in ("GET", "PUT", "DELETE", "TRACE"):
        response = client.http.request(method, "/api/v1/auth/login", headers=JSON)
        assert response.status_code == 405
        assert code_of(response) == "METHOD_NOT_ALLOWED"
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["//api/v1/auth/login", "/api/v1/auth/login/", "/API/v1/auth/login"])
def test_a66_another_spelling_of_a_path_is_another_path(client: Client, path: str) -> None:
    response = client.http.post(path, json={}, follow_redirects=False)
    assert response.status_code == 404


def test_a_request_id_is_taken_over_if_it_is_harmless(client: Client) -> None:
    given = client.get("/nothing", headers={"X-Request-ID": "Trace-0123"})
    assert given.headers["x-request-id"] == "Trace-0123"


@pytest.mark.parametrize("given", ["a b", "a" * 65, "a;b", "<script>", "a\u00e9"])
def test_a67_a_request_id_that_could_forge_a_log_line_is_replaced(client: Client, given: str) -> None:
    response = client.get("/nothing", headers={"X-Request-ID": given.encode("latin-1")})
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
    ],
)
def test_a65_only_json_is_read(client: Client, media_type: str) -> None:
    response = client.post(
        "/auth/logout", content=b'{"refresh_token": "x"}', headers={"Content-Type": media_type}
    )
    assert response.status_code == 415
    assert code_of(response) == "UNSUPPORTED_MEDIA_TYPE"


def test_json_with_a_charset_is_json(client: Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    response = client.post("/auth/logout", content=b'{"refresh_token": "x"}', headers=headers)
    assert response.status_code == 200


def test_a46_a_body_of_a_known_size_over_the_limit_is_refused(client: Client) -> None:
    response = client.post("/users", content=b" " * (64 * 1024 + 1), headers=JSON)
    assert response.status_code == 413
    assert code_of(response) == "BODY_TOO_LARGE"


def test_a46_a_body_of_unknown_size_is_refused_when_it_passes_the_limit(client: Client) -> None:
    sent = []

    def endless():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 1024

    response = client.post("/users", content=endless(), headers=JSON)
    assert response.status_code == 413


def test_a_chunked_body_within_the_limit_is_read(client: Client) -> None:
    def chunks():
        yield b'{"refresh_'
        yield b'token": "x"}'

    assert client.post("/auth/logout", content=chunks(), headers=JSON).status_code == 200


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 10_000, b"\xff\xfe", b"{", b"", b"nul", b"NaN"])
def test_a46_what_is_no_json_is_refused_and_nothing_crashes(client: Client, body: bytes) -> None:
    response = client.post("/auth/login", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert code_of(response) in ("BAD_REQUEST", "VALIDATION_ERROR")


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, "\ud800", "a\0b", {"$ne": 1}])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/users", "password"),
        ("/auth/login", "email"),
        ("/auth/refresh", "refresh_token"),
        ("/auth/activate", "token"),
    ],
)
def test_a39_wrong_types_name_the_field_and_echo_nothing(
    client: Client, path: str, field: str, value: object
) -> None:
    good = {
        "/users": {"email": "ada@example.org", "password": "zebra quilt 41 lamp"},
        "/auth/login": {"email": "ada@example.org", "password": "zebra quilt 41 lamp"},
        "/auth/refresh": {"refresh_token": "x"},
        "/auth/activate": {"token": "x"},
    }[path]
    response = client.post(path, content=json.dumps({**good, field: value}), headers=JSON)
    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["error"]["fields"]] == [field]
    assert "zebra" not in response.text


@pytest.mark.parametrize(
    "extra",
    ["role", "is_admin", "status", "email_verified", "id", "password_hash", "isAdmin", "user"],
)
def test_a50_a_field_that_is_not_asked_for_is_an_error(client: Client, extra: str) -> None:
    body = {"email": "ada@example.org", "password": "zebra quilt 41 lamp", extra: "admin"}
    response = client.post("/users", content=json.dumps(body), headers=JSON)
    assert response.status_code == 422
    assert code_of(response) == "VALIDATION_ERROR"
    assert response.json()["error"]["fields"][0]["message"] == "There is no such field."


def test_a39_a_field_whose_name_is_no_text_is_an_error(client: Client) -> None:
    response = client.post("/auth/logout", content=b'{"refresh_token": "x", "\\ud800": 1}', headers=JSON)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")


def test_a82_a_bug_answers_in_the_envelope_and_tells_nothing(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    core._opened = None  # as if the process had forgotten to open its keys
    client = TestClient(create_app(core), raise_server_exceptions=False)
    response = client.get("/.well-known/jwks.json")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "INTERNAL_ERROR"
    assert "key ring" not in response.text
    assert response.headers["x-request-id"]
    assert response.headers["cache-control"] == "no-store"
    assert "request crashed" in caplog.text


def test_the_log_has_one_line_a_request_without_the_query(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="usersvc.request")
    client.http.get("/activate?token=" + "S" * 43)
    lines = [record.getMessage() for record in caplog.records if record.name == "usersvc.request"]
    assert len(lines) == 1
    assert "'route': '/activate'" in lines[0]
    assert "SSSS" not in lines[0]


def test_the_log_tells_who_was_refused(client: Client, core: Core, caplog: pytest.LogCaptureFixture) -> None:
    account = active(core)
    token = logged_in(core).access_token
    caplog.set_level("INFO", logger="usersvc.request")
    assert client.get("/admin/users", token=token).status_code == 403
    [line] = [record.getMessage() for record in caplog.records if record.name == "usersvc.request"]
    for told in ("'route': '/api/v1/admin/users'", "'status': 403", f"'user_id': '{account.id}'"):
        assert told in line
