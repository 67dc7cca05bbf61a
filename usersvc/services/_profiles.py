"""Steps to the JSON objects of an account, for several use cases. They take the caller's transaction."""

import json

from usersvc.core import Core, Tx
from usersvc.errors import DomainError, FieldProblem, InvalidAttributes, InvalidProfile
from usersvc.profile_schema import JsonObject, canonical, out_of_bounds
from usersvc.repositories.profiles import What
from usersvc.repositories.users import User
from usersvc.services import _events
from usersvc.services.actor import Actor
from usersvc.settings import Settings
from usersvc.webhooks.events import Event

_INVALID: dict[What, type[DomainError]] = {"profile": InvalidProfile, "attributes": InvalidAttributes}
_ACTION: dict[What, str] = {"profile": "user.profile_changed", "attributes": "user.attributes_changed"}
_MOST_NAMES = 50


def write(core: Core, tx: Tx, user: User, what: What, value: JsonObject, *, actor: Actor) -> None:
    """Put `value` in the place of what is kept. Raises InvalidProfile, InvalidAttributes."""
    if wrong := problems(core.settings, what, value):
        raise _INVALID[what](fields=wrong)
    kept = tx.profiles.of(user.id)
    before, after = (getattr(kept, what) or "{}"), canonical(value)
    if before == after:
        return
    tx.profiles.write(user.id, what, after if value else None, at=tx.now)
    names = _changed(json.loads(before), value)
    tx.audit(actor, _ACTION[what], target=user.id, fields=names)
    _events.tell(tx, Event.CHANGED, user.id)


def differs(tx: Tx, user: User, what: What, value: JsonObject) -> bool:
    """Whether this is something else than what is kept."""
    return (getattr(tx.profiles.of(user.id), what) or "{}") != canonical(value)


def problems(settings: Settings, what: What, value: JsonObject) -> list[FieldProblem]:
    """Why this cannot be kept. An empty object always can: it is what every account begins with."""
    if not value:
        return []
    schema = settings.schemas.get(what)
    if schema is None:
        return [FieldProblem(what, f"Nothing can be kept here until profiles.{what}_schema names a schema.")]
    if beyond := out_of_bounds(value, what):
        return [beyond]
    most = settings.profiles.max_bytes
    if len(canonical(value).encode()) > most:
        return [FieldProblem(what, f"Expected at most {most} bytes of JSON.")]
    return schema.problems(value, what)


def _changed(before: JsonObject, after: JsonObject) -> list[str]:
    """The names alone: the audit outlives what somebody takes back."""
    fields = before.keys() | after.keys()
    changed = sorted(name for name in fields if _text(before, name) != _text(after, name))
    return [name[:64] for name in changed[:_MOST_NAMES]]


def _text(of: JsonObject, name: str) -> str | None:
    return canonical({name: of[name]}) if name in of else None
