"""What a checked token says, and JSON that all readers read alike."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .errors import InvalidToken, PermissionMissing

ROLES = ("user", "moderator", "admin")
"""Each includes those before it."""


@dataclass(frozen=True)
class Claims:
    """A service account has no session and no role: what was not in the token is None, or empty."""

    subject: str
    """The user's id, or the client's where no user stands behind it."""
    client_id: str
    expires_at: int
    """Seconds since the epoch, as in the token."""
    session_id: str | None
    role: str | None
    permissions: frozenset[str]
    groups: frozenset[str]
    all: Mapping[str, Any] = field(hash=False, repr=False)

    def require_permission(self, permission: str) -> None:
        """Raises PermissionMissing."""
        if permission not in self.permissions:
            raise PermissionMissing

    def require_role(self, role: str) -> None:
        """At least this one of ROLES, or exactly this one where it is another. Raises PermissionMissing."""
        enough = ROLES[ROLES.index(role) :] if role in ROLES else (role,)
        if self.role not in enough:
            raise PermissionMissing


def claims_of(found: dict[str, Any]) -> Claims:
    """Out of what was signed. Raises InvalidToken where something has not its form."""
    return Claims(
        subject=text(found["sub"]),
        client_id=text(found["client_id"]),
        expires_at=seconds(found["exp"]),
        session_id=_optional(found.get("sid")),
        role=_optional(found.get("role")),
        permissions=_words(found.get("permissions", [])),
        groups=_words(found.get("groups", [])),
        all=MappingProxyType(found),
    )


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidToken
    return value


def seconds(value: object) -> int:
    if type(value) is not int or not 0 < value < 2**53:
        raise InvalidToken
    return value


def _optional(value: object) -> str | None:
    return None if value is None else text(value)


def _words(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise InvalidToken
    return frozenset(text(word) for word in value)


def strict_json(encoded: bytes) -> dict[str, Any]:
    """An object in UTF-8 in which no name stands twice. Raises ValueError and RecursionError."""
    found = json.loads(encoded.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never)
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _never(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON's")
