"""Every route for every kind of caller, by one table; who is not let in changes nothing."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import anyio
import pytest
from starlette.routing import BaseRoute, Mount, Route

from tests.api.conftest import code_of
from tests.attacks.conftest import (
    ADMIN,
    DEACTIVATED,
    DEMOTED,
    ENDED,
    IN_LIMBO,
    MODERATOR,
    USER,
    World,
)
from tests.database import dump
from tests.factories import OPERATOR, PASSWORD
from tests.forgery import resigned
from usersvc.api.deps import PREFIX
from usersvc.api.routing import ByPath
from usersvc.security.keys import Use
from usersvc.services import service_accounts

# What each of nobody, a user, a moderator and an administrator is answered with.


def _open(status: int) -> tuple[int, int, int, int]:
    """The same for everybody, whatever he brings."""
    return (status,) * 4


_OWN = (401, 200, 200, 200)
_ADMIN = (401, 403, 403, 200)

ROUTES: dict[str, tuple[int, int, int, int]] = {
    "POST /users": _open(202),
    "POST /auth/activate": _open(422),
    "POST /auth/resend-activation": _open(202),
    "POST /auth/login": _open(200),
    "POST /auth/refresh": _open(200),
    "POST /auth/logout": _open(200),
    "POST /auth/tokens": _OWN,
    "POST /auth/forgot-password": _open(202),
    "POST /auth/reset-password": _open(422),
    "GET /users/me": _OWN,
    "PATCH /users/me": _OWN,
    "POST /users/me/change-password": _OWN,
    "GET /users/me/export": _OWN,
    # The administrator is the last one.
    "DELETE /users/me": (401, 202, 202, 409),
    "DELETE /admin/users/{user_id}": (401, 403, 403, 202),
    "GET /users/me/sessions": _OWN,
    "DELETE /users/me/sessions/{session_id}": _OWN,
    "POST /auth/logout-all": _OWN,
    "GET /admin/users": _ADMIN,
    "POST /admin/users": (401, 403, 403, 201),
    "GET /admin/users/{user_id}": _ADMIN,
    "PATCH /admin/users/{user_id}/activate": _ADMIN,
    "PATCH /admin/users/{user_id}/deactivate": _ADMIN,
    "PATCH /admin/users/{user_id}/role": _ADMIN,
    "PATCH /admin/users/{user_id}/attributes": _ADMIN,
    "GET /admin/users/{user_id}/sessions": _ADMIN,
    "DELETE /admin/users/{user_id}/sessions": _ADMIN,
    "GET /admin/services": _ADMIN,
    "POST /admin/services": (401, 403, 403, 201),
    "GET /admin/services/{service_id}": _ADMIN,
    "PATCH /admin/services/{service_id}": _ADMIN,
    "PATCH /admin/services/{service_id}/activate": _ADMIN,
    "PATCH /admin/services/{service_id}/deactivate": _ADMIN,
    "POST /admin/services/{service_id}/credentials": (401, 403, 403, 201),
    "DELETE /admin/services/{service_id}/credentials/{credential_id}": _ADMIN,
    "GET /users/me/groups": _OWN,
    "GET /admin/users/{user_id}/groups": _ADMIN,
    "GET /admin/groups": _ADMIN,
    "POST /admin/groups": (401, 403, 403, 201),
    "GET /admin/groups/{group_id}": _ADMIN,
    "PATCH /admin/groups/{group_id}": _ADMIN,
    "DELETE /admin/groups/{group_id}": _ADMIN,
    "GET /admin/groups/{group_id}/members": _ADMIN,
    "PUT /admin/groups/{group_id}/members/{user_id}": _ADMIN,
    "DELETE /admin/groups/{group_id}/members/{user_id}": _ADMIN,
    "GET /admin/audit": _ADMIN,
    "GET /.well-known/jwks.json": _open(200),
    "GET /.well-known/oauth-authorization-server": _open(200),
    "GET /healthz": _open(200),
    "GET /readyz": _open(200),
    # From another machine, without the token that the settings name.
    "GET /metrics": _open(403),
}
# Of services, who show a client id and a secret: no user is one, whatever his role.
OF_CLIENTS = ("POST /oauth/token", "POST /oauth/introspect", "POST /oauth/revoke")
# Not in the document: pages that a mailed link opens, without a link; and the documentation.
PAGES: dict[str, int] = {
    "GET /activate": 422,
    "POST /activate": 422,
    "GET /reset-password": 422,
    "POST /reset-password": 422,
    "GET /": 200,
    "GET /docs": 200,
    "GET /openapi.json": 200,
}


def _served(routes: list[BaseRoute]) -> Iterator[str]:
    """Every route of the application, also those that the document leaves out."""
    for route in routes:
        if isinstance(route, ByPath):
            assert all(found in routes for found in route.found), "it only finds what stands behind it"
        elif isinstance(route, Mount):
            assert route.path == "/static", "what is mounted is a caller's way in, too"
        elif isinstance(route, Route):
            path = route.path.removeprefix(PREFIX)
            yield from (f"{method} {path}" for method in route.methods or () if method != "HEAD")
        else:
            router = getattr(route, "original_router", None)
            assert router is not None, f"what is {route!r}?"
            yield from _served(router.routes)


def test_a51_every_route_has_its_row(world: World) -> None:
    assert set(world.documented()) == {*ROUTES, *OF_CLIENTS}
    application: Any = world.client.http.app
    served = list(_served(application._app.routes))
    assert len(served) == len(set(served))
    assert set(served) == {*ROUTES, *OF_CLIENTS, *PAGES}


def test_a51_what_asks_for_a_bearer_says_so_in_the_document(world: World) -> None:
    guarded = {
        route
        for route, operation in world.documented().items()
        if {"Bearer": []} in operation.get("security", [])
    }
    assert guarded == {route for route, (nobody, *_) in ROUTES.items() if nobody == 401}


# Of the strangers, enough to see that a route does not look who asks.
SOME = ("nobody", "no token", "deactivated", "expired", "refresh token")


def strangers(world: World) -> dict[str, tuple[str, dict[str, str]]]:
    """Whoever is not let in where a bearer is asked for: the code that he meets, and his headers."""
    now, ring = world.clock.now(), world.core.key_ring
    token = world.pairs[ADMIN].access_token
    issued = int(now.timestamp())

    def signed(**claims: Any) -> str:
        return resigned(ring, Use.ACCESS, token, **claims)

    bearers = {
        "no token": ("INVALID_TOKEN", "x"),
        "an empty one": ("INVALID_TOKEN", ""),
        "two": ("INVALID_TOKEN", f"{token} {token}"),
        "two with a comma": ("INVALID_TOKEN", f"{token},{token}"),
        "refresh token": ("INVALID_TOKEN", world.pairs[ADMIN].refresh_token),
        "an id": ("INVALID_TOKEN", world.id_of(ADMIN)),
        "ended session": ("SESSION_ENDED", world.pairs[ENDED].access_token),
        "deactivated": ("SESSION_ENDED", world.pairs[DEACTIVATED].access_token),
        "deactivated, session left": ("SESSION_ENDED", world.pairs[IN_LIMBO].access_token),
        "unknown session": ("SESSION_ENDED", signed(sid=str(uuid4()))),
        "unknown user": ("SESSION_ENDED", signed(sub=str(uuid4()))),
        "another one's session": ("SESSION_ENDED", signed(sid=world.session_of(USER))),
        "another issuer": ("INVALID_TOKEN", signed(iss="https://evil.example.net")),
        "another audience": ("INVALID_TOKEN", signed(aud="other")),
        "expired": ("TOKEN_EXPIRED", signed(exp=issued - 30, iat=issued - 700, nbf=issued - 700)),
        "not yet": ("INVALID_TOKEN", signed(iat=issued + 60, nbf=issued + 60)),
        **{f"{purpose} link": ("INVALID_TOKEN", link) for purpose, link in world.links.items()},
    }
    made = {name: (code, {"Authorization": f"Bearer {bearer}"}) for name, (code, bearer) in bearers.items()}
    return made | {
        "nobody": ("INVALID_TOKEN", {}),
        "basic": ("INVALID_TOKEN", {"Authorization": "Basic cm9vdDpyb290"}),
        "another scheme": ("INVALID_TOKEN", {"Authorization": f"Token {token}"}),
        "in other headers": (
            "INVALID_TOKEN",
            {"X-Authorization": f"Bearer {token}", "X-User-Id": world.id_of(ADMIN), "X-Role": "admin"},
        ),
        "in a cookie": ("INVALID_TOKEN", {"Cookie": f"access_token={token}; session={token}"}),
    }


@pytest.mark.parametrize("route", ROUTES)
def test_a51_everybody_may_what_his_row_says(world: World, route: str) -> None:
    """Strangers first, then the roles: that which counts is in the database, whatever the token says."""
    nobody, user, moderator, administrator = ROUTES[route]
    before = dump(world.core)
    for n, (name, (code, headers)) in enumerate(strangers(world).items()):
        if nobody != 401 and name not in SOME:
            continue
        response = world.call(route, headers, n=n)
        assert response.status_code == nobody, f"{name}: {response.text}"
        if nobody == 401:
            assert code_of(response) == code, name
    if nobody == 401:
        assert dump(world.core) == before
    callers = {USER: user, DEMOTED: user, MODERATOR: moderator, ADMIN: administrator}
    for n, (email, status) in enumerate(callers.items()):
        before = dump(world.core)
        headers = {"Authorization": f"Bearer {world.pairs[email].access_token}"}
        response = world.call(route, headers, n=100 + n, email=email)
        assert response.status_code == status, f"{email}: {response.text}"
        if status == 403 and nobody == 401:
            assert code_of(response) == "FORBIDDEN"
            assert dump(world.core) == before


@pytest.mark.parametrize("route", OF_CLIENTS)
def test_a51_no_user_is_a_client(world: World, route: str) -> None:
    """Nor is a service without its secret, with another one's, or with both ways of saying it."""
    other = service_accounts.create(world.core, name="other", permissions=[], actor=OPERATOR)
    own, theirs = world.service.credential, other.credential
    before = dump(world.core)
    bearers = [world.pairs[email].access_token for email in (USER, MODERATOR, ADMIN)]
    form = {"grant_type": "client_credentials", "token": bearers[0]}
    tried: list[dict[str, Any]] = [
        {},
        *({"headers": {"Authorization": f"Bearer {token}"}} for token in bearers),
        {"auth": (str(own.client_id), "")},
        {"auth": (str(own.client_id), bearers[2])},
        {"auth": (ADMIN, PASSWORD)},
        {"headers": {"Authorization": f"Basic {own.client_secret}"}},
        {"headers": {"Authorization": "Basic"}},
    ]
    for more in tried:
        response = world.client.http.request(*route.split(), data=form, **more)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client"), more
        assert response.headers["www-authenticate"].startswith("Basic ")
    assert dump(world.core) == before
    right = (str(own.client_id), own.client_secret)
    for auth in ((right[0], theirs.client_secret), (right[1], right[1]), right):
        response = world.client.http.request(*route.split(), data=form, auth=auth)
        assert response.status_code == (200 if auth == right else 401)


def test_a51_pages_ask_nobody_who_he_is(world: World) -> None:
    token = world.pairs[ADMIN].access_token
    for route, expected in PAGES.items():
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            found = world.client.http.request(*route.split(), headers=headers)
            assert found.status_code == expected, route


OVERRIDES = [
    {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"},
    {"X-Original-URL": "/api/v1/admin/users", "X-Rewrite-URL": "/api/v1/admin/users"},
    {"X-Forwarded-Prefix": "/api/v1/admin", "X-Script-Name": "/api/v1/admin"},
]


def test_a66_no_header_makes_another_request_of_it(world: World) -> None:
    bearer = {"Authorization": f"Bearer {world.pairs[ADMIN].access_token}"}
    before = dump(world.core)
    for headers in OVERRIDES:
        shown = world.client.get("/users/me", headers={**bearer, **headers}, params={"_method": "DELETE"})
        assert shown.json()["data"]["email"] == ADMIN
        listed = world.call("GET /admin/users/{user_id}/sessions", {**bearer, **headers})
        assert len(listed.json()["data"]) == 1
    assert dump(world.core) == before


SPELLINGS = [
    "/api/v1/users/../admin/users",
    "/api/v1/users/%2e%2e/admin/users",
    "/api/v1/users/..%2fadmin/users",
    "/api/v1/admin;x=1/users",
    "/api/v1/admin/users;.json",
    "/api/v1/admin//users",
    "/api/v1/./admin/users",
    "/api/v1/admin/users/.",
    "/api/v1/admin/users%20",
    "/api/v1/admin/users%00",
    "/api/v1/ADMIN/users",
    "/static/../api/v1/admin/users",
    "/static/%2e%2e/%2e%2e/app.py",
    "/static/..%2f..%2fapp.py",
    "/static/....//app.py",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
]


def test_a66_no_other_spelling_of_a_path_leads_anywhere(world: World) -> None:
    """A client program tidies paths up, so the application is asked as a server hands them on."""
    bearer = f"Bearer {world.pairs[ADMIN].access_token}"
    assert asked(world.client.http.app, "/api/v1/admin/users", bearer)[0] == 200
    for path in SPELLINGS:
        status, body = asked(world.client.http.app, path, bearer)
        assert status in (404, 405, 422), path
        assert b"@example.org" not in body, path
        assert b"import" not in body, path


def asked(application: Any, raw: str, authorization: str) -> tuple[int, bytes]:
    """What GET of this very target is answered with."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"authorization", authorization.encode())],
        "client": ("192.0.2.7", 50000),
        "server": ("127.0.0.1", 8000),
    }
    anyio.run(application, scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
