"""The routes of groups; tests/services/test_groups.py and test_memberships.py have the rules."""

from typing import Any
from uuid import uuid4

import pytest
from httpx2 import Response

from tests.api.conftest import Client, code_of
from tests.factories import EMAIL, OPERATOR, active, an_admin, logged_in, user_row
from tests.groups import a_group, claims_of, put_in
from usersvc.core import Core
from usersvc.services import memberships

ROOT = "root@example.org"
GROUP, MEMBER = "/admin/groups/{group_id}", "/admin/groups/{group_id}/members/{user_id}"
MEMBERS = "/admin/groups/{group_id}/members"


class Caller:
    def __init__(self, client: Client, token: str) -> None:
        self._client, self._token = client, token

    def __call__(self, method: str, template: str, *, query: str = "", **more: Any) -> Response:
        values = {name: more.pop(name) for name in ("group_id", "user_id") if name in more}
        path = template.format(**values) + query
        return self._client.call(method, path, template=template, token=self._token, **more)


@pytest.fixture
def root(core: Core, client: Client) -> Caller:
    an_admin(core)
    return Caller(client, logged_in(core, ROOT).access_token)


@pytest.fixture
def ada(core: Core, client: Client) -> Caller:
    active(core, username="ada")
    return Caller(client, logged_in(core).access_token)


def test_an_administrator_makes_a_group_and_fills_it(core: Core, root: Caller, ada: Caller) -> None:
    body = {"name": "desk", "description": "By telephone", "permissions": ["orders:write", "orders:read"]}
    made = root("POST", "/admin/groups", json=body)
    assert made.status_code == 201
    group = made.json()["data"]
    assert {name: group[name] for name in body} == {**body, "permissions": ["orders:read", "orders:write"]}
    which = {"group_id": group["id"], "user_id": user_row(core).id}
    for _ in range(2):
        assert root("PUT", MEMBER, **which, json={"manager": False}).json()["data"] is None
    assert root("GET", GROUP, **which).json()["data"] == {**group, "members": 1}
    assert root("GET", "/admin/groups").json()["data"] == [{**group, "members": 1}]
    [member] = root("GET", MEMBERS, **which).json()["data"]
    assert (member["email"], member["username"], member["status"]) == (EMAIL, "ada", "active")

    assert claims_of(logged_in(core).access_token) == (["desk"], ["orders:read", "orders:write"])
    [own] = ada("GET", "/users/me/groups").json()["data"]
    assert own == {
        **{name: group[name] for name in ("id", "name", "description", "permissions")},
        "manager": False,
    }
    assert root("GET", "/admin/users/{user_id}/groups", **which).json()["data"] == [own]

    changed = root("PATCH", GROUP, **which, json={"name": "counter", "permissions": ["stock:read"]})
    assert changed.json()["data"]["permissions"] == ["stock:read"]
    assert changed.json()["data"]["description"] == "By telephone"
    described = root("PATCH", GROUP, **which, json={"description": "", "name": None}).json()["data"]
    assert (described["name"], described["description"]) == ("counter", "")
    assert root("DELETE", MEMBER, **which).status_code == 200
    assert root("DELETE", MEMBER, **which).status_code == 200
    assert ada("GET", "/users/me/groups").json()["data"] == []
    assert root("DELETE", GROUP, **which).status_code == 200
    assert code_of(root("DELETE", GROUP, **which)) == "GROUP_NOT_FOUND"


@pytest.mark.sqlite
def test_each_refusal_has_its_code(core: Core, root: Caller, ada: Caller) -> None:
    group = a_group(core, "desk")
    here = {"group_id": group.id, "user_id": user_row(core).id}
    away = {"group_id": uuid4(), "user_id": user_row(core).id}
    nobody = {"group_id": group.id, "user_id": uuid4()}
    many = [f"shop:{number}" for number in range(101)]
    for method, path, values, body, status, code in [
        ("POST", "/admin/groups", {}, {"name": "desk"}, 409, "GROUP_NAME_TAKEN"),
        ("POST", "/admin/groups", {}, {"name": "De sk"}, 422, "INVALID_GROUP"),
        ("POST", "/admin/groups", {}, {"name": "a", "description": "x" * 201}, 422, "VALIDATION_ERROR"),
        ("POST", "/admin/groups", {}, {"name": "a", "permissions": ["orders"]}, 422, "INVALID_PERMISSION"),
        ("POST", "/admin/groups", {}, {"name": "a", "permissions": ["users:x"]}, 422, "RESERVED_PERMISSION"),
        ("POST", "/admin/groups", {}, {"name": "a", "permissions": many}, 409, "TOO_MANY_PERMISSIONS"),
        ("PATCH", GROUP, here, {"permissions": many}, 409, "TOO_MANY_PERMISSIONS"),
        ("PATCH", GROUP, here, {}, 422, "VALIDATION_ERROR"),
        ("PATCH", GROUP, here, {"name": None}, 422, "VALIDATION_ERROR"),
        ("PATCH", GROUP, here, {"permissions": ["roles:write"]}, 422, "RESERVED_PERMISSION"),
        ("PATCH", GROUP, away, {"name": "a"}, 404, "GROUP_NOT_FOUND"),
        ("PUT", MEMBER, away, {"manager": False}, 404, "GROUP_NOT_FOUND"),
        ("PUT", MEMBER, nobody, {"manager": False}, 404, "USER_NOT_FOUND"),
        ("PUT", MEMBER, here, {"manager": "yes"}, 422, "VALIDATION_ERROR"),
        ("DELETE", MEMBER, away, None, 404, "GROUP_NOT_FOUND"),
        ("GET", GROUP, away, None, 404, "GROUP_NOT_FOUND"),
        ("GET", MEMBERS, away, None, 404, "GROUP_NOT_FOUND"),
        ("GET", "/admin/users/{user_id}/groups", nobody, None, 404, "USER_NOT_FOUND"),
    ]:
        used = {name: value for name, value in values.items() if f"{{{name}}}" in path}
        response = root(method, path, **used, **({} if body is None else {"json": body}))
        assert (response.status_code, code_of(response)) == (status, code), (method, path, body)
    assert code_of(root("GET", "/admin/groups", query="?cursor=x")) == "INVALID_CURSOR"
    assert code_of(root("GET", "/admin/groups", query="?limit=101")) == "VALIDATION_ERROR"
    assert code_of(root("GET", MEMBERS, query="?cursor=x", group_id=group.id)) == "INVALID_CURSOR"


def test_a_token_that_would_get_too_large_is_a_conflict(core: Core, root: Caller, ada: Caller) -> None:
    large = [a_group(core, name, *[f"{name}-{i:020}:{i:025}" for i in range(60)]) for name in ("a", "b")]
    user_id = put_in(core, large[0])
    put = root("PUT", MEMBER, group_id=large[1].id, user_id=user_id, json={"manager": False})
    assert (put.status_code, code_of(put)) == (409, "TOKEN_TOO_LARGE")
    more = [*large[0].permissions, *[f"{word}x" for word in large[0].permissions[:30]]]
    patched = root("PATCH", GROUP, group_id=large[0].id, json={"permissions": more})
    assert (patched.status_code, code_of(patched)) == (409, "TOKEN_TOO_LARGE")


def test_a_manager_manages_his_group_and_sees_no_addresses(core: Core, client: Client, ada: Caller) -> None:
    group, other = a_group(core, "desk"), a_group(core, "other")
    put_in(core, group, manager=True)
    bob = active(core, "bob@example.org", username="bob").id
    here = {"group_id": group.id, "user_id": bob}
    assert ada("PUT", MEMBER, **here, json={"manager": False}).status_code == 200
    listed = ada("GET", MEMBERS, group_id=group.id)
    assert [(m["username"], m["email"], m["status"]) for m in listed.json()["data"]] == [
        ("ada", None, None),
        ("bob", None, None),
    ]
    assert "@" not in listed.text
    assert ada("GET", GROUP, group_id=group.id).json()["data"]["members"] == 2
    for response in (
        ada("PUT", MEMBER, **here, json={"manager": True}),
        ada("PATCH", GROUP, group_id=group.id, json={"permissions": ["a:b"]}),
        ada("DELETE", GROUP, group_id=group.id),
        ada("PUT", MEMBER, group_id=other.id, user_id=bob, json={"manager": False}),
        ada("GET", MEMBERS, group_id=other.id),
        ada("GET", "/admin/groups"),
    ):
        assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")
    assert ada("DELETE", MEMBER, **here).status_code == 200
    assert memberships.list_of(core, user_id=bob, actor=OPERATOR) == []


@pytest.mark.sqlite
def test_the_next_page_of_a_list_is_linked(core: Core, root: Caller) -> None:
    for name in ("one", "two", "three"):
        group = a_group(core, name)
    for number in range(3):
        put_in(core, group, active(core, f"person{number}@example.org").email)
    for path, values, field in (("/admin/groups", {}, "name"), (MEMBERS, {"group_id": group.id}, "email")):
        first = root("GET", path, query="?limit=2", **values)
        link = first.headers["link"]
        assert link.endswith('>; rel="next"')
        assert link.startswith(f"<{core.settings.public_url}/api/v1{path.format(**values)}?limit=2&cursor=")
        second = root("GET", path, query="?" + link.partition("?")[2].partition(">")[0], **values)
        assert "link" not in second.headers
        found = [row[field] for page in (first, second) for row in page.json()["data"]]
        assert len(set(found)) == 3
        assert found == sorted(found)
