"""Profile and attributes over HTTP."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.api.conftest import Client, code_of
from tests.conftest import Make
from tests.factories import EMAIL, OPERATOR, active, an_admin, audit_rows, logged_in, user_row
from tests.forgery import parts_of
from tests.profiles import schemas_in
from usersvc.core import Core
from usersvc.services import profiles

PROFILE = {"address": {"city": "Łódź 🦉"}, "display_name": "</script>\u2028", "height": 0.1, "points": 7}


@pytest.fixture
def core(make_core: Make, tmp_path: Path) -> Core:
    return make_core(**schemas_in(tmp_path))


@pytest.fixture
def token(core: Core) -> str:
    active(core, username="ada")
    return logged_in(core).access_token


def test_a_user_writes_the_profile_and_reads_both(client: Client, core: Core, token: str) -> None:
    before = client.get("/users/me", token=token).json()["data"]
    assert (before["profile"], before["attributes"]) == ({}, {})
    profiles.set_attributes(core, user_id=UUID(before["id"]), attributes={"plan": "paid"}, actor=OPERATOR)
    changed = client.call("PATCH", "/users/me", json={"profile": PROFILE}, token=token)
    assert changed.status_code == 200
    me = client.get("/users/me", token=token)
    assert me.json()["data"] == changed.json()["data"]
    assert me.json()["data"] == {
        **before,
        "profile": PROFILE,
        "attributes": {"plan": "paid"},
        "updated_at": me.json()["data"]["updated_at"],
    }
    assert '"height":0.1,"points":7' in me.text
    both = client.call("PATCH", "/users/me", json={"username": "Lovelace", "profile": {}}, token=token)
    assert (both.json()["data"]["username"], both.json()["data"]["profile"]) == ("lovelace", {})
    assert both.json()["data"]["attributes"] == {"plan": "paid"}


def test_an_administrator_writes_the_attributes_and_reads_both(
    client: Client, core: Core, token: str
) -> None:
    an_admin(core)
    root = logged_in(core, "root@example.org").access_token
    client.call("PATCH", "/users/me", json={"profile": PROFILE}, token=token)
    user_id = client.get("/users/me", token=token).json()["data"]["id"]
    of_route = {"template": "/admin/users/{user_id}/attributes", "token": root}
    path = f"/admin/users/{user_id}/attributes"
    changed = client.call("PATCH", path, json={"attributes": {"customer": "7"}}, **of_route)
    shown = client.get(f"/admin/users/{user_id}", template="/admin/users/{user_id}", token=root)
    assert changed.json()["data"] == shown.json()["data"]
    assert (shown.json()["data"]["profile"], shown.json()["data"]["attributes"]) == (
        PROFILE,
        {"customer": "7"},
    )
    wrong = client.call("PATCH", path, json={"attributes": {"plan": "gold", "customer": 7}}, **of_route)
    assert (wrong.status_code, code_of(wrong)) == (422, "INVALID_ATTRIBUTES")
    assert wrong.json()["error"]["fields"] == [
        {"field": "attributes.customer", "message": 'This value is not of type "string".'},
        {"field": "attributes.plan", "message": 'This value is not one of "free" or "paid".'},
    ]
    # A list, and what else answers with a user, stays short.
    for listed in client.get("/admin/users", token=root).json()["data"]:
        assert not {"profile", "attributes"} & set(listed)
    assert len(audit_rows(core, "user.attributes_changed")) == 1


def test_what_cannot_be_kept_is_refused_without_telling_it_again(
    client: Client, core: Core, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """None of it is JSON that every program reads alike, or what the schema lets in."""
    mark = "correcthorsebattery"
    for body, field in (
        ('{"height": NaN}', "profile.height"),
        ('{"height": -Infinity}', "profile.height"),
        ('{"height": 1e999}', "profile.height"),
        ('{"points": 9007199254740992}', "profile.points"),
        (f'{{"points": {"9" * 4000}}}', "profile.points"),
        ('{"points": true}', "profile.points"),
        (f'{{"display_name": "{mark}\\u0000"}}', "profile.display_name"),
        (f'{{"display_name": "{mark}\\ud800"}}', "profile.display_name"),
        (f'{{"display_name": "{mark * 3}"}}', "profile.display_name"),
        (f'{{"notes": ["{mark * 300}"]}}', "profile"),
        ('{"notes": ' + "[" * 9 + "]" * 9 + "}", "profile.notes.0.0.0.0.0.0.0"),
        (f'{{"notes": {json.dumps([mark] * 1001)}}}', "profile.notes.999"),
        ('{"": 1}', "profile."),
    ):
        headers = {"Content-Type": "application/json"}
        content = f'{{"username": "other", "profile": {body}}}'
        refused = client.call("PATCH", "/users/me", content=content, headers=headers, token=token)
        assert (refused.status_code, code_of(refused)) == (422, "INVALID_PROFILE"), body[:50]
        assert refused.json()["error"]["fields"][0]["field"].startswith(field[:128]), body[:50]
        assert mark not in refused.text
    assert mark not in caplog.text
    me = client.get("/users/me", token=token).json()["data"]
    assert (me["username"], me["profile"]) == ("ada", {})
    assert audit_rows(core, "user.profile_changed") == []


@pytest.mark.sqlite
def test_a_change_names_something_and_no_null(client: Client, token: str) -> None:
    for body, field in (
        ({}, "body"),
        ({"profile": None}, "profile"),
        ({"username": None, "profile": {}}, "username"),
        ({"profile": "{}"}, "profile"),
        ({"attributes": {}}, "attributes"),
    ):
        refused = client.call("PATCH", "/users/me", json=body, token=token)
        assert (refused.status_code, code_of(refused)) == (422, "VALIDATION_ERROR"), body
        assert field in [problem["field"] for problem in refused.json()["error"]["fields"]]


@pytest.mark.sqlite
def test_neither_is_in_a_token_and_registering_takes_none(client: Client, core: Core, token: str) -> None:
    client.call("PATCH", "/users/me", json={"profile": PROFILE}, token=token)
    pair = logged_in(core)
    for issued in (pair.access_token, pair.refresh_token):
        claims = parts_of(issued)[1]
        assert claims["sub"] == str(user_row(core).id)
        assert not {"profile", "attributes"} & set(claims)
        assert "Łódź" not in str(claims)
    body = {"email": "new@example.org", "password": "violet anchor 77 spoon", "profile": {}}
    refused = client.post("/users", json=body)
    assert (refused.status_code, code_of(refused)) == (422, "VALIDATION_ERROR")
    assert EMAIL not in refused.text
