"""The same done to many accounts: each in a transaction of its own, by the use case that does it to one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from usersvc.core import Core
from usersvc.errors import DomainError, Kind, NoLongerMatches, UserNotFound
from usersvc.repositories.directory import Filters
from usersvc.services import admin, authorization, directory, sessions
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor

_LONGEST_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Activate:
    def narrowed(self, filters: Filters, at: datetime) -> Filters:
        """Those of these accounts that are not so already."""
        return replace(filters, other_status="active")

    def mails(self, status: str) -> bool:
        """Whether an account of this status gets a mail of it."""
        return True


@dataclass(frozen=True)
class Deactivate:
    def narrowed(self, filters: Filters, at: datetime) -> Filters:
        return replace(filters, other_status="deactivated")

    def mails(self, status: str) -> bool:
        return status == "active"


@dataclass(frozen=True)
class SetRole:
    role: str

    def narrowed(self, filters: Filters, at: datetime) -> Filters:
        return replace(filters, other_role=self.role)

    def mails(self, status: str) -> bool:
        return False


@dataclass(frozen=True)
class RevokeSessions:
    def narrowed(self, filters: Filters, at: datetime) -> Filters:
        return replace(filters, in_session_at=at)

    def mails(self, status: str) -> bool:
        return False


Change = Activate | Deactivate | SetRole | RevokeSessions


@dataclass(frozen=True)
class Survey:
    """How many accounts are concerned."""

    unchanged: int
    """They are so already."""
    to_change: int
    mails: int
    """How many of those get a mail of it."""


@dataclass(frozen=True)
class Outcome:
    account: Account
    """As it was found."""
    what: Literal["done", "skipped", "refused"]
    """Skipped: by its turn it was gone, or none of those that were asked for any more."""
    error: DomainError | None = None
    """Why it was refused."""


def survey(core: Core, *, change: Change, filters: Filters, actor: Actor) -> Survey:
    """What `carry_out` would do as things stand. Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        matching = sum(tx.directory.count(filters).values())
        concerned = tx.directory.count(change.narrowed(filters, tx.now))
    to_change = sum(concerned.values())
    mails = sum(number for status, number in concerned.items() if change.mails(status))
    return Survey(matching - to_change, to_change, mails)


def concerned(core: Core, *, change: Change, filters: Filters, actor: Actor) -> Iterator[Account]:
    """Whom `carry_out` would change as things stand. Raises Forbidden, at a later step too."""
    narrowed = change.narrowed(filters, core.clock.now())
    return directory.each(core, filters=narrowed, actor=actor)


def carry_out(core: Core, *, change: Change, filters: Filters, actor: Actor) -> Iterator[Outcome]:
    """Change all of these accounts that are not so already, an account a step, the oldest first.

    Whoever stops between two steps leaves whole accounts; called again, it goes on with the others. What
    forbids one account (the last administrator, one that is not active) stops none of the others. Raises
    Forbidden where the actor may not even read, DatabaseBusy, DatabaseUnavailable: what was done stays.
    """
    narrowed = change.narrowed(filters, core.clock.now())
    for account in directory.each(core, filters=narrowed, actor=actor):
        begun = time.monotonic()
        outcome = _attempt(core, change, narrowed, account, actor)
        took = time.monotonic() - begun
        yield outcome
        if core.database.path:
            # The turn to write goes to who asks in the right moment: half of the moments are for the others.
            time.sleep(min(took, _LONGEST_PAUSE_SECONDS))


def _attempt(core: Core, change: Change, matching: Filters, account: Account, actor: Actor) -> Outcome:
    try:
        _carry_out(core, change, matching, account.id, actor)
    except (NoLongerMatches, UserNotFound):
        return Outcome(account, "skipped")
    except DomainError as error:
        if error.kind not in (Kind.CONFLICT, Kind.FORBIDDEN):
            raise
        return Outcome(account, "refused", error)
    return Outcome(account, "done")


def _carry_out(core: Core, change: Change, matching: Filters, user_id: UUID, actor: Actor) -> None:
    match change:
        case Activate():
            admin.activate(core, user_id=user_id, matching=matching, actor=actor)
        case Deactivate():
            admin.deactivate(core, user_id=user_id, matching=matching, actor=actor)
        case SetRole(role):
            admin.set_role(core, user_id=user_id, role=role, matching=matching, actor=actor)
        case RevokeSessions():
            sessions.revoke_all(core, user_id=user_id, matching=matching, actor=actor)
