"""What each product calls the fields of a user, in the form of its export that docs/import.md names.

A map gives values under usersvc's own names; what they must be is checked afterwards, in one place for all.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from usersvc.security.hashes.encodings import adapted, decoded, unpadded

Values = dict[str, Any]


class Refused(Exception):
    """Why a record cannot be brought in; `field` is where, the message says nothing of the value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class HashParameters(NamedTuple):
    """Of a Firebase project, whose console shows them: Authentication, Users, Password hash parameters."""

    signer_key: str
    salt_separator: str
    rounds: int
    mem_cost: int

    @classmethod
    def parse(cls, text: str) -> "HashParameters":
        """Out of the `hash_config { ... }` that the console shows. Raises ValueError with what is missing."""
        found = dict(re.findall(r"(\w+)\s*:\s*([^\s,}]+)", text))
        try:
            return cls(
                found["base64_signer_key"],
                found.get("base64_salt_separator", ""),
                int(found["rounds"]),
                int(found["mem_cost"]),
            )
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from None
        except ValueError:
            raise ValueError("rounds and mem_cost are whole numbers") from None


@dataclass(frozen=True)
class Product:
    name: str
    read: Callable[[Values, HashParameters | None], Values]
    users_at: str = ""
    """Where in a JSON document the users are, if it is one."""
    columns: tuple[str, ...] = ()
    """Of a CSV that has no header."""
    escapes: bool = False
    """Whether its CSV has an apostrophe before what a spreadsheet would take for a formula."""


def _usersvc(record: Values, _: HashParameters | None) -> Values:
    return record


def _auth0(record: Values, _: HashParameters | None) -> Values:
    """Users of a bulk export, or of the export of password hashes, which support sends."""
    listed = [one for one in _listed(record.get("identifiers")) if one.get("type") == "email"]
    first = listed[0] if listed else {}
    return {
        "email": record.get("email") or first.get("value"),
        "email_verified": record.get("email_verified", first.get("verified")),
        "username": record.get("username"),
        "password_hash": record.get("passwordHash"),
        "disabled": record.get("blocked"),
        "created_at": _date(record.get("created_at")),
        "last_login_at": _date(record.get("last_login")),
        "password_changed_at": _date(record.get("password_set_date")),
    }


def _firebase(record: Values, parameters: HashParameters | None) -> Values:
    return {
        "email": record.get("email"),
        "email_verified": record.get("emailVerified"),
        "password_hash": _firebase_hash(record, parameters),
        "disabled": record.get("disabled"),
        "created_at": record.get("createdAt"),
        "last_login_at": record.get("lastSignedInAt") or record.get("lastLoginAt"),
    }


def _firebase_hash(record: Values, parameters: HashParameters | None) -> str | None:
    value, salt = record.get("passwordHash"), record.get("salt") or ""
    if not value or parameters is None:
        return None
    key, separator, rounds, mem_cost = parameters
    with_separator = f"ss={separator}," if separator else ""
    return f"$fbscrypt$v=1,n={mem_cost},r={rounds},p=1,{with_separator}sk={key}${salt}${value}"


def _supabase(record: Values, _: HashParameters | None) -> Values:
    """Rows of `auth.users`."""
    if record.get("deleted_at"):
        raise Refused("deleted_at", "This user was deleted.")
    return {
        "email": record.get("email"),
        "email_verified": bool(record.get("email_confirmed_at")),
        "password_hash": record.get("encrypted_password"),
        "disabled": bool(record.get("banned_until")),
        "created_at": record.get("created_at"),
        "activated_at": record.get("email_confirmed_at"),
        "last_login_at": record.get("last_sign_in_at"),
    }


def _keycloak(record: Values, _: HashParameters | None) -> Values:
    enabled = record.get("enabled")
    return {
        "email": record.get("email"),
        "email_verified": record.get("emailVerified"),
        "username": record.get("username"),
        "password_hash": _keycloak_hash(record),
        "disabled": enabled is not None and not enabled,
        "created_at": record.get("createdTimestamp"),
    }


def _keycloak_hash(record: Values) -> str | None:
    stored = [one for one in _listed(record.get("credentials")) if one.get("type") == "password"]
    if not stored:
        return None
    try:
        secret = json.loads(stored[0]["secretData"])
        how = json.loads(stored[0]["credentialData"])
        salt, value = decoded(secret["salt"]), decoded(secret["value"])
        algorithm, rounds = str(how["algorithm"]), int(how["hashIterations"])
        if algorithm == "argon2":
            return _keycloak_argon2(how["additionalParameters"], rounds, salt, value)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        raise Refused("credentials", "The password is not in the form of a Keycloak export.") from None
    if algorithm not in ("pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512"):
        raise Refused("credentials", "The algorithm of the password is none that is known here.")
    return f"${algorithm}${rounds}${adapted(salt)}${adapted(value)}"


def _keycloak_argon2(more: dict[str, list[str]], passes: int, salt: bytes, value: bytes) -> str:
    version = {"1.3": 19, "1.0": 16}[more["version"][0]]
    memory, lanes, kind = int(more["memory"][0]), int(more["parallelism"][0]), more["type"][0]
    parameters = f"v={version}$m={memory},t={passes},p={lanes}"
    return f"$argon2{kind}${parameters}${unpadded(salt)}${unpadded(value)}"


def _django(record: Values, _: HashParameters | None) -> Values:
    """Of `dumpdata`, or rows of `auth_user`. Nobody proved an address to Django itself."""
    fields = record.get("fields")
    found = fields if isinstance(fields, dict) else record
    password = found.get("password")
    if isinstance(password, str):
        # "!" begins what nobody can log in with. Django names the hasher before what it has from others.
        password = None if password.startswith("!") else re.sub(r"^(argon2|bcrypt)\$(?=\$?\w)", "", password)
        password = f"${password}" if password and password.startswith("argon2") else password
    is_active = found.get("is_active")
    return {
        "email": found.get("email"),
        "email_verified": False,
        "username": found.get("username"),
        "password_hash": password,
        "disabled": str(is_active).lower() in ("false", "f", "0"),
        "created_at": found.get("date_joined"),
        "last_login_at": found.get("last_login"),
    }


def _cognito(record: Values, _: HashParameters | None) -> Values:
    """Of `list-users`, or in the form of the CSV of an import job. Cognito gives no hashes away."""
    listed = _listed(record.get("Attributes"))
    found = {str(one.get("Name")): one.get("Value") for one in listed} if listed else record
    return {
        "email": found.get("email"),
        "email_verified": found.get("email_verified"),
        "username": found.get("preferred_username"),
        "disabled": record.get("Enabled") is False,
        "created_at": record.get("UserCreateDate"),
    }


def _listed(value: Any) -> list[Values]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _date(value: Any) -> Any:
    """MongoDB's extended JSON has it one level deeper."""
    return value.get("$date") if isinstance(value, dict) else value


_FIREBASE_COLUMNS = (
    "localId",
    "email",
    "emailVerified",
    "passwordHash",
    "salt",
    "displayName",
    "photoUrl",
    *(
        f"{provider}.{field}"
        for provider in ("google", "facebook", "twitter", "github")
        for field in ("rawId", "email", "displayName", "photoUrl")
    ),
    "createdAt",
    "lastLoginAt",
    "phoneNumber",
    "disabled",
    "customAttributes",
)

PRODUCTS = {
    product.name: product
    for product in (
        Product("usersvc", _usersvc, escapes=True),
        Product("auth0", _auth0),
        Product("firebase", _firebase, users_at="users.item", columns=_FIREBASE_COLUMNS),
        Product("supabase", _supabase),
        Product("keycloak", _keycloak, users_at="users.item"),
        Product("django", _django),
        Product("cognito", _cognito, users_at="Users.item"),
    )
}
