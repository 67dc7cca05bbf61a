"""Schemas for tests, as a project would write them."""

import json
from pathlib import Path
from typing import Any

PROFILE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "display_name": {"type": "string", "minLength": 1, "maxLength": 50},
        "birthday": {"type": "string", "format": "date"},
        "newsletter": {"type": "boolean"},
        "height": {"type": "number"},
        "points": {"type": "integer"},
        "address": {"$ref": "#/$defs/address"},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["city"],
            "additionalProperties": False,
        }
    },
}
ATTRIBUTES: dict[str, Any] = {
    "type": "object",
    "properties": {"customer": {"type": "string"}, "plan": {"enum": ["free", "paid"]}},
    "additionalProperties": False,
}


def write_schema(path: Path, schema: Any) -> Path:
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema), encoding="utf-8")
    path.chmod(0o600)
    return path


def schemas_in(folder: Path) -> dict[str, object]:
    """Settings that name both schemas."""
    return {
        "profiles__profile_schema": write_schema(folder / "profile.schema.json", PROFILE),
        "profiles__attributes_schema": write_schema(folder / "attributes.schema.json", ATTRIBUTES),
    }
