"""Everything that is held about a person, for that person to read: no secret, and nothing of others."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import SessionEnded, UserNotFound
from usersvc.repositories.audit import AuditEntry
from usersvc.repositories.users import User
from usersvc.services import _limits, authorization
from usersvc.services.actor import Actor

MOST = 1000
"""Of each list, in what somebody gets of his own."""

# What became of an address that somebody asked for would tell him whether it is known.
_TELLING_MAILS = frozenset({"change_email", "email_change"})
_TELLING_ACTIONS = frozenset({"user.email_change_mailed"})

Row = TypeVar("Row")


@dataclass(frozen=True)
class ExportedAccount:
    id: UUID
    email: str
    email_verified_at: datetime | None
    username: str | None
    locale: str | None
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    registered_at: datetime | None
    invited_at: datetime | None
    activated_at: datetime | None
    deactivated_at: datetime | None
    password_changed_at: datetime | None
    last_login_at: datetime | None
    must_change_password: bool
    deletion_due_at: datetime | None


@dataclass(frozen=True)
class ExportedEmailChange:
    old_email: str | None
    """None of one that was not confirmed."""
    new_email: str
    requested_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True)
class ExportedSession:
    id: UUID
    device: str | None
    ip: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str | None


@dataclass(frozen=True)
class ExportedGroup:
    name: str
    manager: bool


@dataclass(frozen=True)
class ExportedMail:
    kind: str
    status: str
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class ExportedEntry:
    at: datetime
    action: str
    outcome: str
    actor_kind: str
    by_you: bool
    to_you: bool
    ip: str | None
    """Of the person alone: who failed, and is not known, may be another one."""
    detail: dict[str, Any]
    """Not of what was done to somebody else."""


@dataclass(frozen=True)
class Export:
    exported_at: datetime
    complete: bool
    """False where a list had more than there may be in it: the newest are here."""
    account: ExportedAccount
    profile: dict[str, Any]
    attributes: dict[str, Any]
    groups: list[ExportedGroup]
    email_changes: list[ExportedEmailChange]
    """As long as they can be confirmed or undone."""
    sessions: list[ExportedSession]
    known_devices: int
    """As known_networks."""
    known_networks: int
    """From so many the account has logged in; which, is kept as digests."""
    mails: list[ExportedMail]
    audit: list[ExportedEntry]


def export_own(core: Core, *, actor: Actor) -> Export:
    """What is held about the actor, at most `MOST` of each list. Raises TooManyAttempts, SessionEnded."""
    return _gather(core, _note_own(core, actor), most=MOST)


def export(core: Core, *, user_id: UUID, actor: Actor) -> Export:
    """The same about anybody, all of it. Raises UserNotFound, Forbidden for all but operators."""
    authorization.require_operator(actor)
    _note(core, user_id, actor)
    return _gather(core, user_id, most=None)


@retried
def _note_own(core: Core, actor: Actor) -> UUID:
    if actor.user_id is None:
        raise SessionEnded
    with core.write() as tx:
        authorization.require(tx, actor)
        _limits.require_change(core, tx, actor.user_id)
        tx.audit(actor, "user.exported", target=actor.user_id)
    return actor.user_id


@retried
def _note(core: Core, user_id: UUID, actor: Actor) -> None:
    with core.write() as tx:
        if tx.users.by_id(user_id) is None:
            raise UserNotFound
        tx.audit(actor, "user.exported", target=user_id)


def _gather(core: Core, user_id: UUID, *, most: int | None) -> Export:
    with core.read() as tx:
        user = tx.users.by_id(user_id)
        if user is None:
            raise UserNotFound
        return _export(tx, user, most)


def _export(tx: Tx, user: User, most: int | None) -> Export:
    cut = False

    def newest(read: Callable[[int | None], list[Row]]) -> list[Row]:
        nonlocal cut
        found = read(most + 1 if most else None)
        cut = cut or (most is not None and len(found) > most)
        return found[:most]

    kept = tx.profiles.of(user.id)
    sessions = newest(lambda limit: tx.holdings.sessions(user.id, limit=limit))
    mails = newest(lambda limit: tx.holdings.mails(user.id, user.email, user.email_key, limit=limit))
    entries = newest(lambda limit: tx.holdings.entries(user.id, limit=limit))
    return Export(
        exported_at=tx.now,
        complete=not cut,
        account=ExportedAccount(**{name: getattr(user, name) for name in ExportedAccount.__annotations__}),
        profile=json.loads(kept.profile or "{}"),
        attributes=json.loads(kept.attributes or "{}"),
        groups=[ExportedGroup(group.name, manager) for group, manager in tx.memberships.of(user.id)],
        email_changes=[
            ExportedEmailChange(
                **{name: getattr(change, name) for name in ExportedEmailChange.__annotations__}
            )
            for change in newest(lambda limit: tx.holdings.email_changes(user.id, limit=limit))
        ],
        known_devices=tx.holdings.count_devices(user.id),
        sessions=[
            ExportedSession(
                session.id,
                session.user_agent,
                session.ip,
                session.created_at,
                session.last_used_at,
                session.expires_at,
                session.ended_at,
                session.end_reason,
            )
            for session in sessions
        ],
        known_networks=tx.holdings.count_networks(user.id),
        mails=[
            ExportedMail(mail.kind, mail.status, mail.created_at, mail.sent_at)
            for mail in mails
            if mail.kind not in _TELLING_MAILS
        ],
        audit=[_entry(entry, user.id) for entry in entries if entry.action not in _TELLING_ACTIONS],
    )


def _entry(entry: AuditEntry, user_id: UUID) -> ExportedEntry:
    by_you, to_you = entry.actor_id == user_id, entry.target_id == user_id
    is_own = by_you or (entry.actor_kind == "anonymous" and entry.outcome == "ok")
    return ExportedEntry(
        at=entry.at,
        action=entry.action,
        outcome=entry.outcome,
        actor_kind=entry.actor_kind,
        by_you=by_you,
        to_you=to_you,
        ip=entry.ip if is_own else None,
        detail=entry.detail if to_you or entry.target_id is None else {},
    )
