"""Bodies that are not what a route asked for: refused before anything happens, and never told again."""

import gzip
import json
from typing import Any

import pytest

from tests.api.conftest import code_of
from tests.attacks.conftest import ADMIN, BODIES, USER, World
from tests.database import dump
from usersvc.api.errors import MOST_FIELDS

JSON = {"Content-Type": "application/json"}
WITH_A_BODY = sorted(BODIES)
MARK = "correcthorsebatterystaple"
_TYPES = {
    type(None): "null",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    str: "a text with what none may hold",
}
# None of them is a text.
WRONG: list[Any] = [None, 0, 1.5, True, [], [MARK], {}, {"a": MARK}, "\ud800", f"{MARK}\0"]


def _send(world: World, route: str, content: bytes | str, headers: dict[str, str] = JSON):
    method, path = route.split()
    caller = ADMIN if path.startswith("/admin") else USER
    filled = world.filled(path, user_id=world.id_of(USER))
    token = world.pairs[caller].access_token
    return world.client.call(method, filled, template=path, token=token, content=content, headers=headers)


def _fields(world: World, route: str) -> dict[str, Any]:
    """As the document describes the body of this route."""
    document = world.client.document
    assert document is not None
    body = world.documented()[route]["requestBody"]["content"]["application/json"]["schema"]
    found: dict[str, Any] = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    return found


def _may_be(schema: dict[str, Any], value: Any) -> bool:
    """Whether the document lets this field have a value of this type."""
    kinds = {form.get("type") for form in (schema, *schema.get("anyOf", []))}
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case int():
            return "integer" in kinds
        case list():
            return "array" in kinds
    return False


def test_a39_every_route_with_a_body_is_tried(world: World) -> None:
    assert set(world.with_json()) == set(BODIES)


def test_a39_no_field_takes_another_type_and_none_is_told_again(world: World) -> None:
    before = dump(world.core)
    for route in WITH_A_BODY:
        for name, schema in _fields(world, route).items():
            for value in WRONG:
                if _may_be(schema, value):
                    continue
                if isinstance(value, dict) and schema.get("type") == "object":
                    continue
                response = _send(world, route, json.dumps({**BODIES[route], name: value}))
                assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR"), (name, value)
                assert name in [problem["field"] for problem in response.json()["error"]["fields"]]
                assert MARK not in response.text
    assert dump(world.core) == before


def test_a54_a_refusal_tells_nothing_of_what_was_sent(world: World) -> None:
    for route in WITH_A_BODY:
        for content in (
            json.dumps({**BODIES[route], "more": MARK}),
            json.dumps({name: {"a": MARK} for name in BODIES[route]}),
            json.dumps([MARK]),
            json.dumps(MARK),
            f'{{"password": "{MARK}',
            f"{MARK}",
        ):
            response = _send(world, route, content)
            assert response.status_code in (400, 422), content
            assert MARK not in response.text


def test_a65_nothing_but_json_is_read(world: World) -> None:
    """A form, or JSON that says it is text, is what a page of somebody else can send without asking."""
    before = dump(world.core)
    for route in WITH_A_BODY:
        body = json.dumps(BODIES[route])
        form = "&".join(f"{name}={value}" for name, value in BODIES[route].items())
        for media_type, content in (
            ("text/plain", body),
            ("text/plain; charset=application/json", body),
            ("text/json", body),
            ("application/x-www-form-urlencoded", form),
            ("application/x-www-form-urlencoded", body),
            (
                "multipart/form-data; boundary=x",
                f'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{body}',
            ),
            ("application/xml", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"),
            ("application/octet-stream", body),
            ("", body),
        ):
            response = _send(world, route, content, {"Content-Type": media_type})
            assert (response.status_code, code_of(response)) == (415, "UNSUPPORTED_MEDIA_TYPE"), media_type
    assert dump(world.core) == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a46_a_packed_body_is_not_unpacked(world: World, encoding: str) -> None:
    packed = gzip.compress(b'{"refresh_token": "' + b"x" * 10_000_000 + b'"}')
    assert len(packed) < 64 * 1024
    response = _send(world, "POST /auth/logout", packed, {**JSON, "Content-Encoding": encoding})
    assert response.status_code in (400, 415, 422)


def test_a46_thousands_of_fields_are_not_answered_one_by_one(world: World) -> None:
    content = json.dumps({f"{number}": 1 for number in range(6000)})
    response = _send(world, "POST /auth/login", content)
    assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR")
    fields = response.json()["error"]["fields"]
    assert len(fields) == MOST_FIELDS
    assert len(response.content) < len(content) / 10
    # What is missing comes first, so that a person who made a real mistake still reads it.
    assert [problem["field"] for problem in fields[:2]] == ["email", "password"]


def test_a46_no_body_of_ours_has_more_fields_than_are_told(world: World) -> None:
    assert max(len(_fields(world, route)) for route in WITH_A_BODY) < MOST_FIELDS


@pytest.mark.parametrize("content", ["[" * 30_000 + "]" * 30_000, '{"email":' * 6000 + "1" + "}" * 6000])
def test_a46_what_is_nested_deeply_crashes_nothing(world: World, content: str) -> None:
    for route in ("POST /auth/login", "PATCH /users/me"):
        assert _send(world, route, content).status_code in (400, 422)


def test_a61_of_a_field_that_is_named_twice_the_last_one_counts(world: World) -> None:
    """One reader decides, so nobody can be shown one value while another is used."""
    twice = '{"role": "moderator", "role": "admin", "role": "user"}'
    assert _send(world, "PATCH /admin/users/{user_id}/role", twice).json()["data"]["role"] == "user"
    for query in ("limit=1&limit=1000", "role=user&role=root", "sort=email&sort=password_hash"):
        token = world.pairs[ADMIN].access_token
        response = world.client.get(f"/admin/users?{query}", template="/admin/users", token=token)
        assert (response.status_code, code_of(response)) == (422, "VALIDATION_ERROR"), query
