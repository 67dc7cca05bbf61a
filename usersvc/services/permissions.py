"""Permissions of the relying services' own: their form, and the words that usersvc keeps for itself.

usersvc's own routes ask for the words in PERMISSIONS, which a role alone grants. Nothing that an
administrator makes up may look like one of them to a service that reads the same claim.
"""

import re

from usersvc.errors import InvalidPermission, ReservedPermission
from usersvc.repositories.memberships import Grants
from usersvc.services.actor import PERMISSIONS

OWN = frozenset(permission for granted in PERMISSIONS.values() for permission in granted)
# Whole, with what is not asked for yet. Of `content` only `content:manage` is taken, which moderators hold.
RESERVED_NAMESPACES = frozenset(
    {
        "audit",
        "groups",
        "jobs",
        "keys",
        "mail",
        "outbox",
        "roles",
        "services",
        "sessions",
        "settings",
        "tokens",
        "users",
        "usersvc",
        "webhooks",
    }
)
_WORD = "[a-z0-9][a-z0-9._-]{0,31}"
_PERMISSION = re.compile(f"{_WORD}:{_WORD}", re.ASCII)


def permission_name(text: str) -> str:
    """A permission that a group or a service may have, as it is: nothing is cut off, no case is changed.

    Raises InvalidPermission for another form than `word:word`, ReservedPermission for what is usersvc's own.
    """
    if not _PERMISSION.fullmatch(text):
        raise InvalidPermission
    if text in OWN or text.partition(":")[0] in RESERVED_NAMESPACES:
        raise ReservedPermission(f"{text} is reserved: usersvc itself grants it, by a role, or may one day.")
    return text


def permissions_of(role: str, grants: Grants) -> list[str]:
    """What a token says that a user may do: by the role and by the groups, sorted, each once."""
    return sorted({*PERMISSIONS[role], *grants.permissions})
