"""What the fields of a user must be, whichever product they come from, and the row that becomes of them."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from usersvc.errors import InvalidEmail, InvalidUsername
from usersvc.locales import LOCALES, Locale, known
from usersvc.profile_schema import JsonObject, canonical
from usersvc.repositories.profiles import What
from usersvc.security.passwords import unusable
from usersvc.security.secrets import new_id
from usersvc.services import _profiles
from usersvc.services.actor import PERMISSIONS
from usersvc.services.imports.products import Refused, Values
from usersvc.services.names import parse_email, parse_username
from usersvc.settings import Settings

_STATUSES = ("pending", "invited", "active", "deactivated")
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND_SECONDS = 10**11
_MOST_HASH = 255
_NO_VALUE = (None, "")


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("Expected text.")
    return value


def boolean(value: Any) -> bool:
    known = value if isinstance(value, bool) else str(value).strip().lower()
    if known in (True, *_TRUE):
        return True
    if known in (False, *_FALSE):
        return False
    raise ValueError("Expected true or false.")


def time(value: Any) -> datetime:
    """ISO 8601, in UTC where it names no zone; or seconds or milliseconds since 1970."""
    try:
        found = _since_1970(value) if _is_number(value) else datetime.fromisoformat(text(value))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("Expected a time: ISO 8601, or seconds or milliseconds since 1970.") from None


def json_object(value: Any) -> JsonObject:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError("Expected a JSON object.")
    return found


def locale(value: Any) -> Locale:
    found = known(value)
    if found is None:
        raise ValueError(f"Expected one of {', '.join(LOCALES)}.")
    return found


def identifier(value: Any) -> UUID:
    try:
        return UUID(text(value))
    except ValueError:
        raise ValueError("Expected a UUID.") from None


def names(value: Any) -> list[str]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("Expected a JSON array of names.")
    return found


def _is_number(value: Any) -> bool:
    is_digits = isinstance(value, str) and value.isascii() and value.isdigit()
    return is_digits or (isinstance(value, int | float) and not isinstance(value, bool))


def _since_1970(value: Any) -> datetime:
    number = float(value)
    return _EPOCH + timedelta(seconds=number / 1000 if abs(number) > _BEYOND_SECONDS else number)


class Kept(NamedTuple):
    """A column that holds what stands in the file as it was read."""

    read: Callable[[Any], Any]
    otherwise: Any = None
    """Where nothing stands there."""


# A column of users that is neither decided here nor computed: one line each, by its name.
KEPT: dict[str, Kept] = {
    "last_login_at": Kept(time),
    "locale": Kept(locale),
    "must_change_password": Kept(boolean, False),
    "deletion_due_at": Kept(time),
}

_READ: dict[str, Callable[[Any], Any]] = {
    "id": identifier,
    "email": text,
    "email_verified": boolean,
    "username": text,
    "role": text,
    "status": text,
    "disabled": boolean,
    "password_hash": text,
    "profile": json_object,
    "attributes": json_object,
    "groups": names,
    "created_at": time,
    "registered_at": time,
    "invited_at": time,
    "activated_at": time,
    "deactivated_at": time,
    "password_changed_at": time,
    **{name: kept.read for name, kept in KEPT.items()},
}
TARGETS = tuple(_READ)
"""What a file may say of a user."""


@dataclass(frozen=True)
class Row:
    line: int
    user_id: UUID
    email_key: str
    username: str | None
    password_hash: str | None
    profile: JsonObject | None
    """None where the file has none."""
    attributes: JsonObject | None
    groups: tuple[str, ...]
    columns: dict[str, Any]
    """The row of `users` that this becomes."""

    @property
    def status(self) -> str:
        return str(self.columns["status"])


@dataclass(frozen=True)
class Rules:
    settings: Settings
    lenient_names: bool
    """Of another product: what is a username there need not be one here."""
    trusts_addresses: bool


def row_of(line: int, given: Values, rules: Rules, *, now: datetime) -> Row:
    """Raises Refused."""
    found = _read(given)
    address = _address(found, rules)
    verified = found.get("email_verified") is True or (rules.trusts_addresses and "status" not in found)
    status = _status(found, verified=verified)
    # Who never proved his address may be anybody: he brings nothing else along, and chooses a password anew.
    proved = verified or "status" in found
    username = _username(found, rules)
    password_hash = _password_hash(found) if proved else None
    profile = _object(found, "profile", rules) if proved else None
    attributes = _object(found, "attributes", rules) if proved else None
    groups = tuple(dict.fromkeys(found.get("groups", ()))) if proved else ()
    role = _role(found)
    _require_consistent(status, role=role, password_hash=password_hash, groups=groups)
    user_id = found.get("id") or new_id(now)
    columns = {
        "id": user_id,
        "email": address.email,
        "email_key": address.key,
        "username": username,
        "username_key": username,
        "role": role,
        "status": status,
        "password_hash": password_hash,
        "profile": canonical(profile) if profile else None,
        "attributes": canonical(attributes) if attributes else None,
        **_times(found, status, verified=verified, has_password=password_hash is not None, now=now),
        **{name: found.get(name, kept.otherwise) for name, kept in KEPT.items()},
    }
    return Row(
        line, user_id, address.key, username, password_hash, profile, attributes, groups, columns=columns
    )


def _read(given: Values) -> Values:
    found = {}
    for name, read in _READ.items():
        value = given.get(name)
        if value in _NO_VALUE:
            continue
        try:
            found[name] = read(value)
        except (ValueError, RecursionError) as error:
            told = isinstance(error, ValueError) and str(error).startswith("Expected")
            raise Refused(name, str(error) if told else "This is not what it should be.") from None
    return found


def _address(found: Values, rules: Rules) -> Any:
    if "email" not in found:
        raise Refused("email", "There is no address.")
    try:
        return parse_email(found["email"], special_domains=rules.settings.registration.special_domains)
    except InvalidEmail:
        raise Refused("email", "This is not an e-mail address we can use.") from None


def _status(found: Values, *, verified: bool) -> str:
    if "status" in found:
        if found["status"] not in _STATUSES:
            raise Refused("status", f"Expected one of {', '.join(_STATUSES)}.")
        return str(found["status"])
    if found.get("disabled"):
        return "deactivated"
    return "active" if verified else "pending"


def _role(found: Values) -> str:
    role = str(found.get("role", "user"))
    if role not in PERMISSIONS:
        raise Refused("role", f"Expected one of {', '.join(PERMISSIONS)}.")
    return role


def _username(found: Values, rules: Rules) -> str | None:
    name = found.get("username")
    if name is None or (rules.lenient_names and ("@" in name or _is_uuid(name))):
        return None
    try:
        return parse_username(name)
    except InvalidUsername:
        raise Refused("username", InvalidUsername.message) from None


def _is_uuid(name: str) -> bool:
    try:
        return bool(UUID(name))
    except ValueError:
        return False


def _password_hash(found: Values) -> str | None:
    stored = found.get("password_hash")
    if stored is None:
        return None
    if len(stored) > _MOST_HASH:
        raise Refused("password_hash", f"Expected at most {_MOST_HASH} characters.")
    if reason := unusable(stored):
        raise Refused("password_hash", reason)
    return str(stored)


def _object(found: Values, what: What, rules: Rules) -> JsonObject | None:
    value: JsonObject | None = found.get(what)
    if value is None:
        return None
    for problem in _profiles.problems(rules.settings, what, value):
        raise Refused(problem.field, problem.message)
    return value


def _require_consistent(status: str, *, role: str, password_hash: str | None, groups: Iterable[str]) -> None:
    if status == "pending" and (role != "user" or groups):
        raise Refused("status", "Who is pending has no role above user and is in no group.")
    if status == "invited" and password_hash:
        raise Refused("password_hash", "Who is invited has no password.")


def _times(
    found: Values, status: str, *, verified: bool, has_password: bool, now: datetime
) -> dict[str, datetime | None]:
    created = found.get("created_at") or now
    left = status == "deactivated" and (verified or has_password or "activated_at" in found)
    was_active = status == "active" or left
    activated = found.get("activated_at") if was_active else None
    activated = activated or (created if was_active else None)
    return {
        "created_at": created,
        "email_verified_at": (activated or created) if verified else None,
        # From here on an account that nobody activates is kept for `retention.pending_days`.
        "registered_at": found.get("registered_at") or (now if status == "pending" else None),
        "invited_at": found.get("invited_at") or (now if status == "invited" else None),
        "activated_at": activated,
        "deactivated_at": (found.get("deactivated_at") or now) if status == "deactivated" else None,
        "password_changed_at": found.get("password_changed_at") or (activated if has_password else None),
        "updated_at": now,
    }
