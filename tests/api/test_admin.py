"""Administration over HTTP; the rules are tested in tests/services."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response

from tests.api.conftest import Client, code_of
from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    active,
    an_admin,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    user_row,
)
from usersvc.core import Core
from usersvc.services import admin

ROOT = "root@example.org"
USERS, USER = "/admin/users", "/admin/users/{user_id}"

# Every route that is about one account, and a body for it.
OF_ONE: list[tuple[str, str, dict[str, str] | None]] = [
    ("GET", USER, None),
    ("PATCH", f"{USER}/activate", None),
    ("PATCH", f"{USER}/deactivate", None),
    ("PATCH", f"{USER}/role", {"role": "moderator"}),
    ("GET", f"{USER}/sessions", None),
    ("DELETE", f"{USER}/sessions", None),
]
ROUTES = [("GET", USERS, None), ("POST", USERS, {"email": "new@example.org"}), *OF_ONE]


@pytest.fixture
def token(core: Core) -> str:
    an_admin(core)
    return logged_in(core, ROOT).access_token


def _call(
    client: Client, method: str, template: str, body: dict[str, str] | None, *, on: object, token: str | None
) -> Response:
    more: dict[str, Any] = {} if body is None else {"json": body}
    return client.call(method, template.format(user_id=on), template=template, token=token, **more)


@pytest.mark.parametrize(("method", "template", "body"), ROUTES)
def test_an_administrator_may(
    client: Client, core: Core, token: str, *, method: str, template: str, body: dict[str, str] | None
) -> None:
    on = active(core).id
    response = _call(client, method, template, body, on=on, token=token)
    assert response.status_code == (201 if method == "POST" else 200)
    assert "password" not in response.text.replace('"must_change_password"', "")


@pytest.mark.parametrize(("method", "template", "body"), ROUTES)
def test_without_a_living_session_nobody_may(
    client: Client, core: Core, token: str, *, method: str, template: str, body: dict[str, str] | None
) -> None:
    on = active(core).id
    before = user_row(core)
    client.post("/auth/logout-all", token=token)
    for given, code in ((None, "INVALID_TOKEN"), ("x", "INVALID_TOKEN"), (token, "SESSION_ENDED")):
        response = _call(client, method, template, body, on=on, token=given)
        assert (response.status_code, code_of(response)) == (401, code)
    assert user_row(core) == before


@pytest.mark.parametrize(("method", "template", "body"), ROUTES)
def test_users_and_moderators_may_not(
    client: Client, core: Core, method: str, template: str, body: dict[str, str] | None
) -> None:
    on = active(core).id
    before = user_row(core)
    other = active(core, "other@example.org")
    for role in ("user", "moderator"):
        admin.set_role(core, user_id=other.id, role=role, actor=OPERATOR)
        its = logged_in(core, "other@example.org").access_token
        for target in (on, uuid.uuid4()):
            response = _call(client, method, template, body, on=target, token=its)
            assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")
    assert user_row(core) == before


@pytest.mark.parametrize(("method", "template", "body"), OF_ONE)
def test_who_does_not_exist_is_not_found(
    client: Client, token: str, method: str, template: str, body: dict[str, str] | None
) -> None:
    response = _call(client, method, template, body, on=uuid.uuid4(), token=token)
    assert (response.status_code, code_of(response)) == (404, "USER_NOT_FOUND")
    response = _call(client, method, template, body, on="no-id", token=token)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")


def test_an_account_is_invited_shut_out_let_in_and_promoted(client: Client, core: Core, token: str) -> None:
    body = {"email": EMAIL, "role": "moderator", "username": "Ada"}
    made = client.post(USERS, json=body, token=token).json()["data"]
    assert (made["email"], made["role"], made["username"]) == (EMAIL, "moderator", "ada")
    assert (made["status"], made["is_active"], made["email_verified"]) == ("invited", False, False)
    assert [mail["To"].addresses[0].addr_spec for mail in delivered(core)] == [EMAIL]
    for path, change, found in (
        ("deactivate", None, ("deactivated", "moderator")),
        ("activate", None, ("active", "moderator")),
        ("role", {"role": "admin"}, ("active", "admin")),
    ):
        changed = _call(client, "PATCH", f"{USER}/{path}", change, on=made["id"], token=token).json()["data"]
        assert (changed["status"], changed["role"]) == found
        shown = client.get(f"{USERS}/{made['id']}", template=USER, token=token).json()["data"]
        more = {"must_change_password": False, "deletion_due_at": None}
        assert shown == {**changed, "profile": {}, "attributes": {}, **more}


def test_sessions_of_others_are_listed_and_ended_at_once(client: Client, core: Core, token: str) -> None:
    on = active(core).id
    pair = logged_in(core)
    path, template = f"{USERS}/{on}/sessions", f"{USER}/sessions"
    [found] = client.get(path, template=template, token=token).json()["data"]
    assert (found["device"], found["current"]) == ("pytest", False)
    ended = client.call("DELETE", path, template=template, token=token)
    assert ended.json()["data"] == {"sessions_ended": 1}
    assert code_of(client.get("/users/me", token=pair.access_token)) == "SESSION_ENDED"
    assert client.get(path, template=template, token=token).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [("deactivate", None), ("role", {"role": "user"})],
)
def test_what_nobody_does_to_themselves(
    client: Client, core: Core, token: str, path: str, body: dict[str, str] | None
) -> None:
    own = user_row(core, ROOT).id
    response = _call(client, "PATCH", f"{USER}/{path}", body, on=own, token=token)
    assert (response.status_code, code_of(response)) == (409, "OWN_ACCOUNT")
    assert (user_row(core, ROOT).role, user_row(core, ROOT).status) == ("admin", "active")


@pytest.mark.parametrize("make", [pending, deactivated])
def test_a_role_for_who_is_not_active_is_a_conflict(
    client: Client, core: Core, token: str, make: Callable[[Core], object]
) -> None:
    make(core)
    response = _call(client, "PATCH", f"{USER}/role", {"role": "admin"}, on=user_row(core).id, token=token)
    assert (response.status_code, code_of(response)) == (409, "NOT_ACTIVE")


def test_who_cannot_be_invited_is_told(client: Client, core: Core, token: str) -> None:
    active(core, username="ada")
    for body, status, code in (
        ({"email": EMAIL}, 409, "EMAIL_TAKEN"),
        ({"email": "bob@example.org", "username": "ada"}, 409, "USERNAME_TAKEN"),
        ({"email": "no address"}, 422, "INVALID_EMAIL"),
        ({"email": "bob@example.org", "username": "!"}, 422, "INVALID_USERNAME"),
        ({"email": "bob@example.org", "role": "root"}, 422, "VALIDATION_ERROR"),
        ({"email": "bob@example.org", "status": "active"}, 422, "VALIDATION_ERROR"),
        ({"email": "bob@example.org", "password": "zebra quilt 41 lamp"}, 422, "VALIDATION_ERROR"),
        ({"email": "bob\0@example.org"}, 422, "VALIDATION_ERROR"),
    ):
        response = client.post(USERS, json=body, token=token)
        assert (response.status_code, code_of(response)) == (status, code)
    assert len(client.get(USERS, token=token).json()["data"]) == 2


@pytest.mark.parametrize("body", [{}, {"role": None}, {"role": "root"}, {"role": "user", "status": "active"}])
def test_a_role_that_is_none_changes_nothing(
    client: Client, core: Core, token: str, body: dict[str, str]
) -> None:
    on = active(core).id
    response = _call(client, "PATCH", f"{USER}/role", body, on=on, token=token)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")
    assert user_row(core).role == "user"


@pytest.mark.parametrize(
    "query",
    ["x=1", "page=2", "limit=0", "limit=101", "limit=x", "sort=role", "role=root", "status=x", "q=a%00"],
)
def test_a_query_that_is_not_known_is_refused(client: Client, token: str, query: str) -> None:
    response = client.get(f"{USERS}?{query}", template=USERS, token=token)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")


def test_pages_are_linked_under_the_public_address_with_their_filters(
    make_core: Make,
) -> None:
    core = make_core(server__public_url="https://users.example.org")
    an_admin(core)
    client, token = Client(core), logged_in(core, ROOT).access_token
    for number in range(5):
        invited(core, f"a&{number}@example.org")
    admins = client.get(USERS, token=token, params={"role": "admin"})
    assert "link" not in admins.headers
    seen: list[str] = []
    response = client.get(USERS, token=token, params={"q": "a&", "sort": "-email", "limit": 2})
    while True:
        seen += [user["email"] for user in response.json()["data"]]
        following = response.links.get("next")
        if following is None:
            break
        host, _, path = following["url"].partition("/api/v1")
        assert host == "https://users.example.org"
        response = client.get(path, template=USERS, token=token)
        assert response.status_code == 200
    assert seen == [f"a&{number}@example.org" for number in (4, 3, 2, 1, 0)]


def test_a_cursor_of_another_list_is_refused(client: Client, core: Core, token: str) -> None:
    active(core)
    linked = client.get(USERS, token=token, params={"limit": 1}).links["next"]["url"]
    cursor = linked.partition("cursor=")[2]
    for params in ({"cursor": cursor, "sort": "email"}, {"cursor": cursor, "q": "a"}, {"cursor": "x"}):
        response = client.get(USERS, token=token, params=params)
        assert (response.status_code, code_of(response)) == (422, "INVALID_CURSOR"), params
