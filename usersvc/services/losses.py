"""What a restore loses: what was written since the backup was made, by the audit of the database in place."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from usersvc.core import Core
from usersvc.db.backups import Contents
from usersvc.errors import DomainError
from usersvc.services import erasure, schema
from usersvc.services.actor import Actor
from usersvc.services.audit import Entry, Filters
from usersvc.services.erasure import Erasure

REVOCATIONS = (
    "user.deactivated",
    "user.role_changed",
    "user.login_locked",
    "user.deletion_scheduled",
    "user.email_changed",
    "user.email_restored",
    "group.changed",
    "group.deleted",
    "group.member_changed",
    "group.member_removed",
    "password.changed",
    "password.reset",
    "password.set",
    "session.denied",
    "service.changed",
    "service.credential_revoked",
    "service.deactivated",
    "service.deleted",
    "webhook.changed",
    "webhook.disabled",
    "webhook.deleted",
    "webhook.secret_rotated",
    "secret.rotated",
)
"""What took something away, and is undone where it is lost. Of sessions, links and keys all end anyway."""

_AT_ONCE = 500


@dataclass(frozen=True)
class Losses:
    """Nothing, where no database is in place."""

    entries: dict[str, int] = field(default_factory=dict)
    """How many of each action of the audit."""
    revocations: list[Entry] = field(default_factory=list)
    """In full, the oldest first: to be done again."""
    erased: list[Erasure] = field(default_factory=list)
    """Who was erased, ever."""
    unknown: str | None = None
    """Why what is in place cannot be read."""


def compare(core: Core, contents: Contents, *, actor: Actor) -> Losses:
    """What is in place and not in the backup, as far as it can be read."""
    try:
        if schema.is_absent(core):
            return Losses()
        schema.require_current(core)
        erased = list(erasure.list_erasures(core, actor=actor))
        return _lost(core, contents, erased)
    except DomainError as error:
        return Losses(unknown=str(error))


def _lost(core: Core, contents: Contents, erased: list[Erasure]) -> Losses:
    counted: Counter[str] = Counter()
    revocations = []
    for entry in _entries_since(core, contents):
        # Written once the backup was there.
        if entry.action != "database.backed_up":
            counted[entry.action] += 1
        if entry.action in REVOCATIONS:
            revocations.append(entry)
    return Losses(dict(counted), revocations, erased)


def _entries_since(core: Core, contents: Contents) -> Iterator[Entry]:
    start = contents.newest.since
    while True:
        with core.read() as tx:
            page = tx.audit_entries.oldest(Filters(), start=start, limit=_AT_ONCE)
        yield from (entry for entry in page if entry.id not in contents.newest.ids)
        if len(page) < _AT_ONCE:
            return
        start = UUID(int=page[-1].id.int + 1)
