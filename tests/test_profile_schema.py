"""What bounds every JSON object that is kept, and what a schema of a project's own may be and says."""

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.profiles import PROFILE, write_schema
from usersvc.errors import FieldProblem
from usersvc.profile_schema import (
    MOST_INTEGER,
    MOST_SCHEMA_BYTES,
    MOST_VALUES,
    Schema,
    _compiled,
    canonical,
    out_of_bounds,
    parse_object,
    read_schema,
)

SECRET = "hunter2"


def _nested(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels - 1):
        found = [found]
    return {"a": found}


# -- bounds


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": "", "ключ": "значение 🦉", "null": None, "t": True, "f": False},
        {"n": [MOST_INTEGER, -MOST_INTEGER, 0.1, -0.0, 5e-324, 1.7976931348623157e308]},
        _nested(7),
        {"many": ["x"] * (MOST_VALUES - 1)},
    ],
)
def test_what_is_within_the_bounds_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert out_of_bounds(value, "profile") is None
    assert json.loads(canonical(value)) == value
    assert parse_object(canonical(value).encode()) == value


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({"a": {"b": MOST_INTEGER + 1}}, "profile.a.b", "at most 9007199254740991"),
        ({"a": -MOST_INTEGER - 1}, "profile.a", "at most 9007199254740991"),
        ({"a": [0, float("nan")]}, "profile.a.1", "finite"),
        ({"a": float("-inf")}, "profile.a", "finite"),
        ({"a": "x\0"}, "profile.a", "not allowed"),
        ({"a": "\ud800"}, "profile.a", "not allowed"),
        ({"a": {"\0": 1}}, "profile.a", "not allowed"),
        ({"\udfff": 1}, "profile", "not allowed"),
        (_nested(8), "profile.a.0.0.0.0.0.0.0", "8 levels"),
        ({"many": ["x"] * MOST_VALUES}, "profile.many.999", "too much"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused_at_its_place(
    value: dict[str, Any], field: str, message: str
) -> None:
    found = out_of_bounds(value, "profile")
    assert found is not None
    assert found.field == field
    assert message in found.message


def test_the_deepest_text_is_an_error_and_no_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert out_of_bounds({"a": deep}, "profile") is not None
    while deep:  # Python would free it by as many calls of itself.
        deep = deep.pop()
    with pytest.raises(ValueError, match="not JSON"):
        parse_object(b"[" * 100_000)


def test_equal_objects_have_one_text() -> None:
    assert canonical({"b": {"y": 1, "x": "é"}, "a": 2}) == '{"a":2,"b":{"x":"é","y":1}}'


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff{}", b'{"a":' + b"9" * 5000 + b"}"])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not JSON|a JSON object|Exceeds"):
        parse_object(data)


# -- what a schema says


def test_a_value_that_does_not_fit_is_told_field_by_field() -> None:
    value = {
        "display_name": "",
        "birthday": "2026-02-30",
        "points": 1.5,
        "address": {"zip": "12", "street": "x"},
        "notes": ["ok", 7],
        "admin\x1b[2J": True,
    }
    assert Schema(PROFILE).problems(value, "profile") == [
        FieldProblem("profile.address.city", "This field is required."),
        FieldProblem("profile.address.street", "There is no such field."),
        FieldProblem("profile.address.zip", 'This value does not match "^[0-9]{5}$".'),
        FieldProblem("profile.admin\N{REPLACEMENT CHARACTER}[2J", "There is no such field."),
        FieldProblem("profile.birthday", 'This value is not a "date".'),
        FieldProblem("profile.display_name", "This value is shorter than 1 character."),
        FieldProblem("profile.notes.1", 'This value is not of type "string".'),
        FieldProblem("profile.points", 'This value is not of type "integer".'),
    ]
    assert Schema(PROFILE).problems({"display_name": "Ada", "birthday": "1815-12-10"}, "profile") == []


# Each refuses what holds the secret, in a way of its own.
REFUSALS: dict[str, Any] = {
    "type": {"type": "integer"},
    "enum": {"enum": [1, 2]},
    "const": {"const": 1},
    "pattern": {"pattern": "^x"},
    "format": {"format": "email"},
    "length": {"maxLength": 1},
    "longer": {"minLength": 100},
    "not": {"not": {"type": "string"}},
    "never": False,
    "any": {"anyOf": [{"type": "integer"}, {"maxLength": 1}]},
    "one": {"oneOf": [{"type": "string"}, {"minLength": 1}]},
    "none": {"oneOf": [{"type": "integer"}, {"maxLength": 1}]},
    "all": {"allOf": [{"type": "integer"}, {"maxLength": 1}]},
    "if": {"if": {"type": "string"}, "then": {"const": 1}},
}
OF_LISTS: dict[str, Any] = {
    "contains": {"contains": {"type": "integer"}},
    "unique": {"uniqueItems": True},
    "items": {"maxItems": 1},
    "prefix": {"prefixItems": [{}], "items": False},
    "unevaluated": {"prefixItems": [{}], "unevaluatedItems": False},
}
OF_OBJECTS: dict[str, Any] = {
    "names": {"propertyNames": {"maxLength": 1}},
    "few": {"maxProperties": 0},
    "many": {"minProperties": 5},
    "dependent": {"dependentRequired": {"someone": ["else"]}},
    "schemas": {"dependentSchemas": {"someone": False}},
    "patterns": {"patternProperties": {"^s": {"type": "integer"}}},
    "more": {"additionalProperties": {"type": "integer"}},
}


def test_no_refusal_tells_the_value_that_was_sent() -> None:
    schema = Schema({"properties": REFUSALS | OF_LISTS | OF_OBJECTS})
    value: dict[str, Any] = dict.fromkeys(REFUSALS, SECRET)
    value |= {name: [SECRET, SECRET] for name in OF_LISTS}
    value |= {name: {"someone": SECRET} for name in OF_OBJECTS}
    for name in value:
        found = schema.problems({name: value[name]}, "profile")
        assert found, name
        assert SECRET not in str(found), name
        assert all(problem.field.startswith(f"profile.{name}") for problem in found), name
    assert len(schema.problems(value, "profile")) == 20


def test_a_pattern_takes_linear_time_whatever_is_matched() -> None:
    """One that goes back and forth would not be done before the end of the test run."""
    schema = Schema({"properties": {"a": {"pattern": "^(a+)+$"}}})
    assert schema.problems({"a": "a" * 16_000 + "!"}, "profile")


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}])
def test_a_schema_that_leads_to_itself_ends(schema: dict[str, Any]) -> None:
    assert isinstance(Schema(schema).problems(_nested(7), "profile"), list)


# -- what can be no schema

WRONG: list[tuple[Any, str]] = [
    ("", "not JSON"),
    ("[]", "expected a JSON object"),
    ("true", "expected a JSON object"),
    ('{"type": "object", "type": "string"}', "type: stands there twice"),
    ({"type": "objekt"}, "type: "),
    ({"properties": {"a": {"maxLength": "5"}}}, "properties.a.maxLength: "),
    ({"properties": {"a": {"format": "e-mail"}}}, "Unknown format: 'e-mail'"),
    ({"properties": {"a": {"pattern": "("}}}, '"(" is not a "regex"'),
    ({"properties": {"a": {"pattern": "(?=x)"}}}, '"(?=x)" is not a "regex"'),
    ({"properties": {"a": {"pattern": "(((x{1000}){1000}){1000})"}}}, "is not a "),
    ({"$ref": "#/$defs/nothing"}, "'/$defs/nothing' does not exist"),
    ({"properties": {"a": {"$ref": "other.json"}}}, "properties.a.$ref: expected a place in this file"),
    ({"$ref": "file:///etc/hostname"}, "$ref: expected a place in this file"),
    ({"$dynamicRef": "https://example.org/x"}, "$dynamicRef: expected a place in this file"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$schema: expected https://json-schema.org/"),
    ({"$defs": {"a": {"$schema": "https://example.org/x"}}}, "$defs.a.$schema: expected https://json-s"),
    ('{"a":' * 5000 + "1" + "}" * 5000, "ecursion"),
    (" " * (MOST_SCHEMA_BYTES + 1), "expected at most 65536 bytes"),
]


@pytest.mark.parametrize(("schema", "mistake"), WRONG)
def test_a_wrong_schema_is_told_with_its_file_and_mistake(tmp_path: Path, schema: Any, mistake: str) -> None:
    path = write_schema(tmp_path / "wrong.json", schema)
    with pytest.raises(ValueError, match=r"wrong\.json: ") as caught:
        read_schema(path)
    assert mistake in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_open_to_others_is_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(ValueError, match="there is no file"):
        read_schema(path)
    write_schema(path, PROFILE)
    path.chmod(0o602)
    with pytest.raises(ValueError, match="others can write"):
        read_schema(path)
    path.chmod(0o600)
    assert read_schema(path).problems({}, "profile") == []


# -- nothing is fetched


def test_nothing_is_ever_fetched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        for schema in (
            {"$ref": url},
            {"$dynamicRef": url},
            {"$schema": url},
            {"$id": url, "$ref": "x"},
            {"$id": url, "$schema": "https://json-schema.org/draft/2020-12/schema"},
            {"properties": {"a": {"$id": url, "$ref": f"{url}#/$defs/x"}}},
        ):
            for read in (Schema, _compiled):  # with and without the look that comes before
                with suppress(ValueError):
                    read(schema)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        # What makes the difference: the library by itself would ask.
        server.setblocking(True)

        def answer_nothing() -> None:
            server.accept()[0].close()

        asked = threading.Thread(target=answer_nothing)
        asked.start()
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.Draft202012Validator({"$ref": url})
        asked.join(timeout=30)
        assert not asked.is_alive()
