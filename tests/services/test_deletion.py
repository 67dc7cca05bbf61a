"""Deletion: asked for, called off by logging in, carried out when its days are over."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import dump
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    outbox_rows,
    pending,
    signed_in,
    together,
    token_in,
    user_row,
    watching_hashes,
)
from tests.hooks import deliveries
from tests.outbox import Scripted, deliver
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    DomainError,
    Forbidden,
    InvalidCredentials,
    LastAdmin,
    OwnAccount,
    SessionEnded,
    TooManyAttempts,
    UserNotFound,
    WrongPassword,
)
from usersvc.mail.errors import MailRefused
from usersvc.services import (
    admin,
    authorization,
    deletion,
    email_change,
    erasure,
    maintenance,
    passwords,
    registration,
    sessions,
    webhooks,
)
from usersvc.services.actor import Actor

JOB = Actor.job("purge_expired")
DAYS = timedelta(days=14)


def _subjects(core: Core) -> list[str]:
    return [str(message["Subject"]) for message in delivered(core)]


def _kinds(core: Core) -> list[str]:
    return [row.kind for row in outbox_rows(core) if row.status == "due"]


def _is_erased(core: Core, user_id: UUID) -> bool:
    with core.read() as tx:
        gone, noted = tx.users.by_id(user_id) is None, tx.erasures.by_id(user_id) is not None
    assert gone is noted
    return gone


def _schedule(core: Core, email: str = EMAIL) -> UUID:
    user_id = user_row(core, email).id
    deletion.schedule(core, user_id=user_id, actor=OPERATOR)
    return user_id


def test_the_owner_deletes_it_and_it_is_gone_when_the_days_are_over(core: Core, clock: MovedClock) -> None:
    webhooks.create(core, url="https://receiver.example/", events=[], actor=OPERATOR)
    active(core, username="ada")
    pair, by = logged_in(core), signed_in(core)
    at = clock.now()

    assert deletion.schedule_own(core, password=PASSWORD, actor=by) == at + DAYS

    with core.read() as tx, pytest.raises(SessionEnded):
        authorization.require(tx, by)
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    [message] = delivered(core)
    assert (at + DAYS).strftime("%Y-%m-%d %H:%M UTC") in message.as_string()
    assert deliveries(core)[-1].data["deletion_due_at"]
    # Until then nobody else has the address or the name.
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    assert _kinds(core) == ["already_registered"]

    clock.move(days=14, microseconds=-1)
    assert maintenance.purge(core, actor=JOB, dry_run=True)["deleted_accounts"] == 0
    assert maintenance.purge(core, actor=JOB)["deleted_accounts"] == 0
    clock.move(microseconds=1)
    assert maintenance.purge(core, actor=JOB, dry_run=True)["deleted_accounts"] == 1
    seen: list[tuple[str, int]] = []
    counts = maintenance.purge(core, actor=JOB, progress=lambda *batch: seen.append(batch))
    assert counts["deleted_accounts"] == 1
    assert ("deleted_accounts", 1) in seen
    assert by.user_id
    assert _is_erased(core, by.user_id)
    [last] = delivered(core)
    assert last["To"] == EMAIL
    assert EMAIL not in dump(core)
    assert deletion.carry_out_due(core, actor=JOB) == 0


@pytest.mark.sqlite
def test_a_thief_erases_nobody_before_the_way_back_of_the_address_ends(make_core: Make) -> None:
    core = make_core(retention__deletion_grace_days=0)
    account = active(core)
    email_change.set_for(core, user_id=account.id, email="thief@example.net", actor=OPERATOR)
    [told] = delivered(core)
    by = signed_in(core, "thief@example.net")
    assert deletion.schedule_own(core, password=PASSWORD, actor=by) == core.clock.now() + timedelta(days=7)
    assert deletion.carry_out_due(core, actor=JOB) == 0
    email_change.restore(core, token=token_in(told), actor=STRANGER)
    assert user_row(core).deletion_due_at is None


def test_logging_in_keeps_the_account(core: Core, clock: MovedClock) -> None:
    active(core)
    user_id = _schedule(core)
    delivered(core)
    clock.move(days=14)
    # Its time is over, but nobody carried it out yet.
    logged_in(core)
    assert _subjects(core) == ["Your account at 127.0.0.1:8000 stays"]
    assert admin.show(core, user_id=user_id, actor=OPERATOR).deletion_due_at is None
    assert deletion.carry_out_due(core, actor=JOB) == 0
    logged_in(core)
    assert _kinds(core) == []
    clock.move(days=1)
    assert _schedule(core) == user_id
    assert admin.show(core, user_id=user_id, actor=OPERATOR).deletion_due_at == clock.now() + DAYS


def test_a_new_password_keeps_nothing_but_opens_the_door(core: Core) -> None:
    active(core)
    user_id = _schedule(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    delivered(core)
    link = passwords.show_reset_link(core, user_id=user_id, actor=OPERATOR)
    token = link.address.rpartition("=")[2]
    passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
    assert user_row(core).deletion_due_at
    logged_in(core, password=OTHER_PASSWORD)
    assert user_row(core).deletion_due_at is None


def test_a_wrong_password_counts_as_a_failed_login(core: Core) -> None:
    active(core)
    by = signed_in(core)
    before = user_row(core)
    answers = []
    for _ in range(6):
        with pytest.raises(DomainError) as refused:
            deletion.schedule_own(core, password=OTHER_PASSWORD, actor=by)
        answers.append(type(refused.value))
    assert answers == [WrongPassword] * 5 + [TooManyAttempts]
    with pytest.raises(TooManyAttempts):
        logged_in(core)
    assert user_row(core) == before
    assert [row.outcome for row in audit_rows(core, "user.deletion_failed")] == ["WRONG_PASSWORD"] * 5


def test_a_password_that_was_replaced_while_it_was_verified_deletes_nothing(core: Core) -> None:
    active(core)
    by = signed_in(core)
    link = passwords.show_reset_link(core, user_id=user_row(core).id, actor=OPERATOR)
    token = link.address.rpartition("=")[2]

    def reset() -> None:
        passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)

    with watching_hashes(core) as (watched, pool):
        pool.afterwards = reset
        with pytest.raises(InvalidCredentials):
            deletion.schedule_own(watched, password=PASSWORD, actor=by)
    assert user_row(core).deletion_due_at is None


def test_the_last_administrator_is_refused_at_once_and_kept_in_the_end(core: Core, clock: MovedClock) -> None:
    first = an_admin(core)
    with pytest.raises(LastAdmin):
        deletion.schedule_own(core, password=PASSWORD, actor=signed_in(core, first.email))
    with pytest.raises(LastAdmin):
        deletion.schedule(core, user_id=first.id, actor=OPERATOR)
    second = an_admin(core, "second@example.org")
    by = signed_in(core, second.email)
    deletion.schedule(core, user_id=first.id, actor=by)
    clock.move(seconds=1)
    deletion.schedule_own(core, password=PASSWORD, actor=by)
    delivered(core)
    clock.move(days=15)
    assert deletion.carry_out_due(core, actor=JOB) == 1
    assert _is_erased(core, first.id)
    assert not _is_erased(core, second.id)
    assert sorted(_kinds(core)) == ["account_erased", "deletion_cancelled"]
    assert deletion.count_due(core) == 0


def test_who_was_deactivated_meanwhile_is_erased_all_the_same(core: Core, clock: MovedClock) -> None:
    active(core)
    user_id = _schedule(core)
    admin.deactivate(core, user_id=user_id, actor=OPERATOR)
    clock.move(days=15)
    deletion.carry_out_due(core, actor=JOB)
    assert _is_erased(core, user_id)


@pytest.mark.parametrize(("make", "last"), [(pending, []), (invited, []), (deactivated, ["account_erased"])])
def test_who_is_not_active_gets_no_mail_that_he_could_log_in(
    core: Core, clock: MovedClock, make: Any, last: list[str]
) -> None:
    make(core)
    user_id = _schedule(core)
    assert _kinds(core) == []
    clock.move(days=15)
    deletion.carry_out_due(core, actor=JOB)
    assert _is_erased(core, user_id)
    assert _kinds(core) == last


def test_the_date_stays_however_often_it_is_asked_for_and_can_be_called_off(
    core: Core, clock: MovedClock
) -> None:
    user_id = active(core).id
    first = deletion.schedule(core, user_id=user_id, actor=OPERATOR)
    clock.move(days=1)
    before = dump(core)
    assert deletion.schedule(core, user_id=user_id, actor=OPERATOR) == first
    assert dump(core) == before
    assert deletion.cancel(core, user_id=user_id, actor=OPERATOR)
    assert not deletion.cancel(core, user_id=user_id, actor=OPERATOR)
    assert user_row(core).deletion_due_at is None


def test_only_who_may_deletes_others(core: Core) -> None:
    root = signed_in(core, an_admin(core).email)
    user_id = active(core).id
    for use in (deletion.schedule, deletion.cancel, admin.show):
        with pytest.raises(Forbidden):
            use(core, user_id=user_id, actor=signed_in(core))
        with pytest.raises(UserNotFound):
            use(core, user_id=UUID(int=1), actor=root)
    an_admin(core, "second@example.org")
    assert root.user_id
    with pytest.raises(OwnAccount):
        deletion.schedule(core, user_id=root.user_id, actor=root)


def test_who_logs_in_while_it_is_carried_out_has_an_account_or_has_none(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    user_id = _schedule(core)
    clock.move(days=15)
    pair, erased = together(lambda: logged_in(core), lambda: deletion.carry_out_due(core, actor=JOB))
    assert _is_erased(core, user_id) is (erased == 1)
    assert isinstance(pair, InvalidCredentials) is (erased == 1)
    if erased == 0:
        assert user_row(core).deletion_due_at is None


@pytest.mark.sqlite
def test_of_the_last_mail_nothing_stays_where_it_cannot_be_sent(core: Core, clock: MovedClock) -> None:
    for email in (EMAIL, "bob@example.org"):
        active(core, email)
    for email in (EMAIL, "bob@example.org"):
        erasure.forget(core, user_id=user_row(core, email).id, actor=OPERATOR)
    core.transport = Scripted(MailRefused("550 no"), *[ConnectionRefusedError()] * 100)
    deliver(core)
    assert EMAIL not in dump(core)
    assert "bob@example.org" in dump(core)
    clock.move(days=3)
    deliver(core)
    assert "bob@example.org" not in dump(core)
    for action in ("mail.failed", "mail.dead"):
        assert [row.target_id for row in audit_rows(core, action)] == [None]
