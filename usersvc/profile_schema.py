"""The JSON objects kept with an account: what bounds every one, and the JSON Schema that a project writes."""

import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usersvc.errors import FieldProblem
from usersvc.setting_types import open_to_others

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

JsonObject = dict[str, Any]
Trail = tuple[str | int, ...]

MOST_DEPTH = 8
MOST_VALUES = 1000
# RFC 7493: beyond it, one program reads another number than the next.
MOST_INTEGER = 2**53 - 1
MOST_SCHEMA_BYTES = 65_536
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_MOST_PROBLEMS = 20
_MOST_PATTERN_BYTES = 1 << 20
_NO_SUCH_FIELD = "There is no such field."
_NOT_ALLOWED = "This holds a character that is not allowed."


class Schema:
    """A JSON Schema (draft 2020-12) that says what a JSON object may hold; `format` is an assertion.

    Nothing is ever fetched: a reference leads to another place of the same document. Patterns are matched
    in linear time, whatever is matched.
    """

    def __init__(self, document: JsonObject) -> None:
        """Raises ValueError with what is wrong in it."""
        _require_self_contained(document)
        _compiled(document)
        self._validator = _compiled(document, mask="this value")

    def problems(self, value: JsonObject, name: str) -> list[FieldProblem]:
        """What does not fit, with `name` for the whole; says what is expected, never what was given."""
        found = (each for error in self._validator.iter_errors(value) for each in _told(error, name))
        return sorted(islice(found, _MOST_PROBLEMS))


def read_schema(path: Path) -> Schema:
    """Raises ValueError with what is wrong with the file or in it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if open_to_others(path, reading=False):
        raise ValueError(f"others can write {path}: chmod o-w it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if len(data) > MOST_SCHEMA_BYTES:
            raise ValueError(f"expected at most {MOST_SCHEMA_BYTES} bytes")
        return Schema(parse_object(data, twice=False))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_object(data: bytes, *, twice: bool = True) -> JsonObject:
    """Raises ValueError. Of a field that is named `twice` the last one counts, as in the API; else: error."""
    try:
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=None if twice else _once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")
    return found


def canonical(value: JsonObject) -> str:
    """The one text of this object: equal objects have the same."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def out_of_bounds(value: JsonObject, name: str) -> FieldProblem | None:
    """What makes this no object that every database, program and person gets back as it was sent."""
    for count, (path, each) in enumerate(_walk(value)):
        message = "There is too much in here." if count > MOST_VALUES else _unfit(each, len(path))
        if message:
            return FieldProblem(_place(name, *path), message)
    return None


def _walk(value: Any) -> Iterator[tuple[Trail, Any]]:
    """The value, and all in it; whoever stops at the first that is too deep needs no more depth himself."""
    waiting: list[tuple[Trail, Any]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        yield path, each
        if isinstance(each, dict):
            waiting += [((*path, key), inner) for key, inner in reversed(each.items())]
        elif isinstance(each, list):
            waiting += [((*path, index), each[index]) for index in reversed(range(len(each)))]


def _unfit(value: Any, depth: int) -> str | None:
    match value:
        case str() if not _is_storable(value):
            return _NOT_ALLOWED
        case int() if abs(value) > MOST_INTEGER:
            return f"Expected at most {MOST_INTEGER} in size."
        case float() if not math.isfinite(value):
            return "Expected a finite number."
        case dict() | list() if depth >= MOST_DEPTH:
            return f"Expected at most {MOST_DEPTH} levels."
        case dict() if not all(map(_is_storable, value)):
            return _NOT_ALLOWED
    return None


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _place(*path: str | int) -> str:
    """With dots, as a terminal may show it: the names in it may be anybody's."""
    place = ".".join(map(str, path))[:128]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in place)


def _compiled(document: JsonObject, mask: str | None = None) -> Any:
    """With a `mask`, errors show that instead of the value; without, they are for whoever writes a schema."""
    from jsonschema_rs import Draft202012Validator, ReferencingError, RegexOptions

    try:
        return Draft202012Validator(
            document,
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            mask=mask,
            pattern_options=RegexOptions(size_limit=_MOST_PATTERN_BYTES),
        )
    except (ValueError, ReferencingError) as error:
        place = _place(*getattr(error, "instance_path", ()))
        message = getattr(error, "message", str(error))
        raise ValueError(f"{place}: {message}" if place else message) from None


def _require_self_contained(document: JsonObject) -> None:
    for path, each in _walk(document):
        if not path or not isinstance(each, str):
            continue
        if path[-1] in ("$ref", "$dynamicRef") and not each.startswith("#"):
            raise ValueError(f"{_place(*path)}: expected a place in this file, such as #/$defs/address")
        if path[-1] == "$schema" and each.removesuffix("#") != DIALECT:
            raise ValueError(f"{_place(*path)}: expected {DIALECT}")


def _told(error: "ValidationError", name: str) -> Iterator[FieldProblem]:
    path = tuple(error.instance_path)
    match type(error.kind).__name__:
        case "AdditionalProperties" | "UnevaluatedProperties":
            for unexpected in error.kind.value:
                yield FieldProblem(_place(name, *path, unexpected), _NO_SUCH_FIELD)
        case "FalseSchema":
            yield FieldProblem(_place(name, *path), _NO_SUCH_FIELD)
        case "Required":
            yield FieldProblem(_place(name, *path, error.kind.value), "This field is required.")
        case "PropertyNames":
            yield FieldProblem(_place(name, *path), "The name of a field in here is not allowed.")
        case "AdditionalItems" | "UnevaluatedItems":
            yield FieldProblem(_place(name, *path), "There are too many items in here.")
        case _:
            yield FieldProblem(_place(name, *path), _sentence(error.message))


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:200]}."


def _once(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice}: stands there twice")
    return found
