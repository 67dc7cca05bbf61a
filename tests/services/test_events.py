"""What webhooks are told, use case by use case: nothing that concerns an account is forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event

from tests.audited import CASES, PURGE, World
from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    PASSWORD,
    STRANGER,
    active,
    invited,
    pending,
    signed_in,
    user_row,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import DomainError, UsernameTaken
from usersvc.repositories.webhooks import Delivery
from usersvc.services import accounts, admin, invitations, maintenance, registration, webhooks
from usersvc.services.audit import ACTIONS
from usersvc.webhooks.events import Event

# Which service tells what is the same on every database.
pytestmark = pytest.mark.sqlite

# What is told beside each action of the audit: one of these.
TOLD: dict[str, list[tuple[Event, ...]]] = {
    "user.registered": [(Event.REGISTERED,), (Event.REGISTERED, Event.ACTIVATED)],
    "user.created": [(Event.REGISTERED, Event.ACTIVATED)],
    "user.invited": [(Event.REGISTERED,), (Event.CHANGED,)],
    "user.activated": [(Event.ACTIVATED,), (Event.REACTIVATED,)],
    "user.deactivated": [(Event.DEACTIVATED,)],
    "user.role_changed": [(Event.ROLE_CHANGED,)],
    "user.renamed": [(Event.CHANGED,)],
    "user.locale_changed": [(Event.CHANGED,)],
    "user.profile_changed": [(Event.CHANGED,)],
    "user.attributes_changed": [(Event.CHANGED,)],
    "user.imported": [
        (Event.REGISTERED,),
        (Event.REGISTERED, Event.ACTIVATED),
        (Event.CHANGED,),
        (Event.ACTIVATED,),
    ],
    "user.purged": [(Event.DELETED,)],
    "user.deletion_scheduled": [(Event.DELETION_SCHEDULED,)],
    "user.deletion_cancelled": [(Event.DELETION_CANCELLED,)],
    "user.erased": [(Event.ERASED,)],
}
# They change neither whether there is an account nor what it may do.
NOT_TOLD = {
    "user.registered_again",
    "user.logged_in",
    "user.login_failed",
    "user.deletion_failed",
    "user.exported",
    "user.login_paused",
    "user.login_locked",
    "user.login_unlocked",
    "mail.failed",
    "mail.dead",
    "mail.retried",
    "mail.tested",
    "database.copied",
    "database.backed_up",
    "database.restored",
    "schema.migrated",
    "secret.set",
    "secret.rotated",
    "token.revoked",
    "activation.requested",
    "activation.mailed",
    "invitation.mailed",
    "data.purged",
    "users.exported",
}
_NEVER = ("session.", "password.", "audit.", "key.", "webhook.", "service.", "group.", "import.")


def _listen(core: Core, *events: Event) -> None:
    webhooks.create(core, url="https://receiver.example/", events=events, actor=OPERATOR)


def _deliveries(core: Core, status: str = "due") -> list[Delivery]:
    with core.read() as tx:
        found = tx.deliveries.newest(webhook_id=None, status=status, limit=1000)
    return sorted(found, key=lambda delivery: delivery.id)


def _told(core: Core) -> list[tuple[str, dict[str, Any]]]:
    return [(delivery.event, delivery.data) for delivery in _deliveries(core)]


def test_of_each_action_it_is_known_whether_it_is_told() -> None:
    others = {action for action in ACTIONS if not action.startswith(_NEVER)}
    assert others == set(TOLD) | NOT_TOLD
    assert {one for tellings in TOLD.values() for told in tellings for one in told} == set(Event)


CONCERNED = [
    name
    for name, case in CASES.items()
    if any(told.partition(" | ")[0] in {*TOLD, "user.registered_again"} for told in case.events)
]


@pytest.mark.parametrize("name", CONCERNED)
def test_each_use_case_tells_what_its_audit_tells(
    core: Core, clock: MovedClock, make_core: Make, name: str
) -> None:
    steps = CASES[name].run(World(core, clock, make_core))
    next(steps)
    _listen(core)
    with suppress(DomainError, StopIteration):
        next(steps)
    actions = [told.partition(" | ")[0] for told in CASES[name].events]
    possible = {sum(found, ()) for found in product(*(TOLD.get(action, [()]) for action in actions))}
    assert tuple(told for told, _ in _told(core)) in possible


def test_ids_status_and_role_are_told_and_no_name_or_address(core: Core) -> None:
    _listen(core)
    token = pending(core, username="ada")
    user_id = str(user_row(core).id)
    registration.activate(core, token=token, actor=STRANGER)
    accounts.change(core, username="lovelace", actor=signed_in(core))
    admin.set_role(core, user_id=user_row(core).id, role="moderator", actor=OPERATOR)
    admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR)
    admin.activate(core, user_id=user_row(core).id, actor=OPERATOR)
    stands = [
        ("user.registered", "pending", "user"),
        ("user.activated", "active", "user"),
        ("user.changed", "active", "user"),
        ("user.role_changed", "active", "moderator"),
        ("user.deactivated", "deactivated", "moderator"),
        ("user.reactivated", "active", "moderator"),
    ]
    expected = [(told, {"user_id": user_id, "status": status, "role": role}) for told, status, role in stands]
    assert _told(core) == expected


def test_an_account_that_was_never_let_in_is_activated_not_reactivated(core: Core) -> None:
    pending(core)
    admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR)
    _listen(core)
    admin.activate(core, user_id=user_row(core).id, actor=OPERATOR)
    invitations.invite(core, email="ivy@example.org", actor=OPERATOR)
    pending(core, "bob@example.org")
    invitations.invite(core, email="bob@example.org", role="moderator", actor=OPERATOR)
    assert [(told, data["status"], data["role"]) for told, data in _told(core)] == [
        ("user.activated", "active", "user"),
        ("user.registered", "invited", "user"),
        ("user.registered", "pending", "user"),
        ("user.changed", "invited", "moderator"),
    ]


def test_what_is_deleted_is_told_by_its_id_alone(core: Core, clock: MovedClock) -> None:
    pending(core)
    user_id = user_row(core).id
    _listen(core, Event.DELETED)
    clock.move(days=8)
    maintenance.purge(core, actor=PURGE)
    assert _told(core) == [("user.deleted", {"user_id": str(user_id)})]


def test_only_who_wants_an_event_is_told_and_where_nobody_does_nothing_is_written(core: Core) -> None:
    pending(core)
    assert _deliveries(core) == []
    _listen(core, Event.DEACTIVATED)
    _listen(core, Event.ACTIVATED, Event.DEACTIVATED)
    _listen(core)
    admin.activate(core, user_id=user_row(core).id, actor=OPERATOR)
    admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR)
    assert [told for told, _ in _told(core)] == ["user.activated"] * 2 + ["user.deactivated"] * 3


def test_what_is_rolled_back_is_not_told(core: Core) -> None:
    active(core, username="ada")
    active(core, "bob@example.org", username="bob")
    by = signed_in(core, "bob@example.org")
    _listen(core)
    with pytest.raises(UsernameTaken):
        accounts.change(core, username="ada", actor=by)
    assert _told(core) == []


def test_a13_registering_does_as_much_for_a_known_address_as_for_another(core: Core) -> None:
    """A stranger could measure what is written for one address and not for the other."""
    _listen(core)
    _listen(core, Event.ACTIVATED)
    pending(core)
    active(core, "bob@example.org")
    invited(core, "ivy@example.org")
    work = []
    for email in ("new@example.org", EMAIL, "bob@example.org", "ivy@example.org"):
        with _statements(core) as seen:
            registration.register(core, email=email, password=PASSWORD, actor=STRANGER)
        work.append([statement for statement in seen if "webhook" in statement])
    assert len(work[0]) == 2
    assert work == [work[0]] * 4
    assert [told.outcome for told in _deliveries(core, "dropped")] == ["nothing to tell"] * 3


@contextmanager
def _statements(core: Core) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(core.database._writer, "before_cursor_execute", note)
    yield seen
    event.remove(core.database._writer, "before_cursor_execute", note)
