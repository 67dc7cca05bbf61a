"""The audit read: listed and followed. Nothing here changes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from usersvc.core import Core
from usersvc.repositories import audit
from usersvc.security.secrets import first_id
from usersvc.services import _pages, authorization
from usersvc.services.actor import Actor

Entry = audit.AuditEntry
Filters = audit.Filters

ACTIONS = (
    "user.registered",
    "user.registered_again",
    "user.created",
    "user.invited",
    "user.activated",
    "user.deactivated",
    "user.role_changed",
    "user.renamed",
    "user.locale_changed",
    "user.profile_changed",
    "user.attributes_changed",
    "user.imported",
    "user.purged",
    "user.deletion_scheduled",
    "user.deletion_failed",
    "user.deletion_cancelled",
    "user.erased",
    "user.exported",
    "user.logged_in",
    "user.login_failed",
    "user.login_paused",
    "user.login_locked",
    "user.login_unlocked",
    "group.created",
    "group.changed",
    "group.deleted",
    "group.member_added",
    "group.member_changed",
    "group.member_removed",
    "import.finished",
    "session.logged_out",
    "session.logged_out_everywhere",
    "session.ended",
    "session.ended_as_surplus",
    "session.ended_after_reuse",
    "session.revoked_all",
    "password.changed",
    "password.change_failed",
    "password.forgotten",
    "password.reset_mailed",
    "password.reset_link_shown",
    "password.reset",
    "activation.requested",
    "activation.mailed",
    "invitation.mailed",
    "service.created",
    "service.changed",
    "service.rotated",
    "service.credential_revoked",
    "service.deactivated",
    "service.activated",
    "service.authentication_failed",
    "session.revoked",
    "token.revoked",
    "mail.failed",
    "mail.dead",
    "mail.retried",
    "mail.tested",
    "webhook.created",
    "webhook.changed",
    "webhook.disabled",
    "webhook.deleted",
    "webhook.secret_rotated",
    "webhook.tested",
    "webhook.gave_up",
    "webhook.delivery_retried",
    "users.exported",
    "data.purged",
    "audit.purged",
    "database.copied",
    "database.backed_up",
    "database.restored",
    "schema.migrated",
    "secret.set",
    "secret.rotated",
    "key.created",
    "key.retired",
    "key.refused",
    "key.deleted",
)
"""All that happen, as docs/operations.md explains them."""
MOST = 100
# An entry has the time at which its transaction began, and is seen when that is committed.
LATE = timedelta(minutes=1)

_LIST = "audit"
_AT_ONCE = 500


@dataclass(frozen=True)
class Page:
    entries: list[Entry]
    next_cursor: str | None
    """Where the next page begins; None after the last one."""


def is_known(action: str) -> bool:
    """Whether this is an action, or with a dot at the end the beginning of some."""
    return action in ACTIONS or any(known.startswith(action) for known in ACTIONS if action.endswith("."))


def list_entries(
    core: Core, *, actor: Actor, filters: Filters, limit: int = 50, cursor: str | None = None
) -> Page:
    """One page, the newest first, at most `MOST` entries.

    Raises Forbidden; InvalidCursor for one that did not come with these filters.
    """
    query = [*vars(filters).values()]
    before = UUID(_pages.place_in(core, _LIST, cursor, query=query)["id"]) if cursor is not None else None
    limit = min(limit, MOST)
    with core.read() as tx:
        authorization.require(tx, actor, "audit:read")
        found = tx.audit_entries.newest(filters, before=before, limit=limit + 1)
    shown = found[:limit]
    if len(found) == len(shown):
        return Page(shown, None)
    return Page(shown, _pages.cursor_after(core, _LIST, {"id": shown[-1].id.hex}, query=query))


def follow(core: Core, *, actor: Actor, filters: Filters) -> Iterator[list[Entry]]:
    """The entries since `filters.since`, or from now on, the oldest first, without an end.

    Each step gives those that came since the one before; the caller decides how long to wait after none.
    Every entry comes once, also one that is committed up to `LATE` after its time. (A clock that is set back
    by more than that hides what is written until it has caught up.) Raises Forbidden, at a later step too.
    """
    with core.read() as tx:
        authorization.require(tx, actor, "audit:read")
        start = first_id(filters.since or tx.now - LATE)
        known = set() if filters.since else tx.audit_entries.ids_from(start)
    while True:
        with core.read() as tx:
            authorization.require(tx, actor, "audit:read")
            most = len(known) + _AT_ONCE
            found = tx.audit_entries.oldest(filters, start=start, limit=most)
            settled = first_id(tx.now - LATE)
        yield [entry for entry in found if entry.id not in known]
        if len(found) == most:
            settled = min(settled, found[-1].id)
        start = max(start, settled)
        known = {entry_id for entry_id in known.union(entry.id for entry in found) if entry_id >= start}
