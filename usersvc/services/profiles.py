"""What is kept about a user beyond the account: the profile, and the attributes that administrators keep.

Both are JSON objects; what they may hold says the JSON Schema that the settings name. What was stored under
another schema stays, and is shown; the next write must fit.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import FieldProblem, NotActive
from usersvc.profile_schema import JsonObject
from usersvc.repositories.profiles import Kept, What
from usersvc.services import _profiles, _targets, accounts, authorization
from usersvc.services.accounts import WatchedAccount
from usersvc.services.actor import Actor

_AT_ONCE = 200
_EACH: tuple[What, ...] = ("profile", "attributes")


@dataclass(frozen=True)
class Misfit:
    """Something stored that could not be written today."""

    id: UUID
    """Of the account."""
    email: str
    what: What
    problems: Sequence[FieldProblem]


def set_attributes(core: Core, *, user_id: UUID, attributes: JsonObject, actor: Actor) -> WatchedAccount:
    """Put these in the place of the attributes that the account has.

    Raises Forbidden, UserNotFound, InvalidAttributes; NotActive for an account that is pending: who is
    behind its address is not known yet.
    """
    return _set(core, user_id=user_id, what="attributes", value=attributes, actor=actor)


def set_profile(core: Core, *, user_id: UUID, profile: JsonObject, actor: Actor) -> WatchedAccount:
    """The same with the profile, for a user who cannot or does not do it. Raises InvalidProfile instead."""
    return _set(core, user_id=user_id, what="profile", value=profile, actor=actor)


@retried
def _set(core: Core, *, user_id: UUID, what: What, value: JsonObject, actor: Actor) -> WatchedAccount:
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write")
        if user.status == "pending":
            raise NotActive("This account is pending: activate it first.")
        _profiles.write(core, tx, user, what, value, actor=actor)
        return accounts.watched(tx, user)


def misfits(core: Core, *, actor: Actor) -> Iterator[Misfit]:
    """What does not fit the schemas of today, page by page: any number of accounts needs little memory.

    Raises Forbidden, at a later step too.
    """
    after: UUID | None = None
    while True:
        with core.read() as tx:
            authorization.require(tx, actor, "users:read")
            page = tx.profiles.page(after=after, limit=_AT_ONCE)
        for kept in page:
            yield from _misfits_of(core, kept)
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id


def _misfits_of(core: Core, kept: Kept) -> Iterator[Misfit]:
    for what in _EACH:
        found = _problems(core, what, getattr(kept, what) or "{}")
        if found:
            yield Misfit(kept.id, kept.email, what, found)


def _problems(core: Core, what: What, text: str) -> list[FieldProblem]:
    try:
        return _profiles.problems(core.settings, what, json.loads(text))
    except ValueError:
        return [FieldProblem(what, "This is not JSON.")]
