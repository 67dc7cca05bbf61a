"""The same done to many accounts: to each as to one alone, and what forbids one stops no other."""

from datetime import timedelta

import pytest

from tests.factories import (
    EMAIL,
    OPERATOR,
    active,
    an_admin,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    rewrite_user,
    signed_in,
    user_row,
)
from usersvc.core import Core
from usersvc.errors import Forbidden, InvalidCredentials, SessionEnded
from usersvc.services import admin, bulk, directory, login, sessions
from usersvc.services.actor import Actor
from usersvc.services.bulk import Activate, Change, Deactivate, RevokeSessions, SetRole, Survey
from usersvc.services.directory import Filters

EVERYBODY = Filters()


def _carry_out(core: Core, change: Change, filters: Filters, actor: Actor = OPERATOR) -> dict[str, str]:
    """What became of whom."""
    outcomes = bulk.carry_out(core, change=change, filters=filters, actor=actor)
    return {
        outcome.account.email.partition("@")[0]: outcome.error.code if outcome.error else outcome.what
        for outcome in outcomes
    }


def _survey(core: Core, change: Change, filters: Filters) -> tuple[int, int, int]:
    survey = bulk.survey(core, change=change, filters=filters, actor=OPERATOR)
    named = [each.email for each in bulk.concerned(core, change=change, filters=filters, actor=OPERATOR)]
    assert len(named) == survey.to_change
    return survey.unchanged, survey.to_change, survey.mails


def _status(core: Core) -> dict[str, str]:
    found = directory.each(core, filters=EVERYBODY, actor=OPERATOR)
    return {account.email.partition("@")[0]: account.status for account in found}


@pytest.fixture
def five(core: Core) -> Core:
    active(core)
    deactivated(core, "bob@example.org")
    invited(core, "ivy@example.org")
    pending(core, "pia@example.org")
    active(core, "zoe@example.org")
    return core


def test_many_are_shut_out_and_let_in_as_one_is(five: Core) -> None:
    later = five.clock.now() + timedelta(days=1)
    rewrite_user(five, "zoe@example.org", created_at=later)
    some = Filters(created_before=later)
    logged_in(five)
    assert _survey(five, Deactivate(), some) == (1, 3, 1)
    assert _carry_out(five, Deactivate(), some) == {"ada": "done", "ivy": "done", "pia": "done"}
    assert _status(five) == dict.fromkeys(("ada", "bob", "ivy", "pia"), "deactivated") | {"zoe": "active"}
    assert [message["To"].addresses[0].username for message in delivered(five)] == ["ada"]
    assert sessions.list_of(five, user_id=user_row(five).id, actor=OPERATOR) == []
    assert len(audit_rows(five, "user.deactivated")) == 4
    assert _survey(five, Deactivate(), some) == (4, 0, 0)
    assert _carry_out(five, Deactivate(), some) == {}

    assert _survey(five, Activate(), EVERYBODY) == (1, 4, 4)
    everybody = dict.fromkeys(("ada", "bob", "ivy", "pia"), "done")
    assert _carry_out(five, Activate(), EVERYBODY) == everybody
    assert sorted(message["To"].addresses[0].username for message in delivered(five)) == sorted(everybody)
    assert set(_status(five).values()) == {"active"}
    assert logged_in(five)
    with pytest.raises(InvalidCredentials):
        login.log_in(five, email="pia@example.org", password="zebra quilt 41 lamp", actor=OPERATOR)


def test_who_is_refused_stops_no_other(five: Core) -> None:
    an_admin(five)
    assert _survey(five, SetRole("admin"), EVERYBODY) == (1, 5, 0)
    assert _carry_out(five, SetRole("admin"), EVERYBODY) == {
        "ada": "done",
        "bob": "NOT_ACTIVE",
        "ivy": "done",
        "pia": "NOT_ACTIVE",
        "zoe": "done",
    }
    admins = Filters(role="admin", status="active")
    assert _carry_out(five, Deactivate(), admins) == {"ada": "done", "zoe": "done", "root": "LAST_ADMIN"}
    assert logged_in(five, "root@example.org")


def test_sessions_of_those_who_are_logged_in_are_ended(five: Core) -> None:
    for email in (EMAIL, EMAIL, "zoe@example.org"):
        logged_in(five, email)
    sessions.log_out(five, refresh_token=logged_in(five, "zoe@example.org").refresh_token, actor=OPERATOR)
    only = Filters(prefix="a")
    assert _survey(five, RevokeSessions(), EVERYBODY) == (3, 2, 0)
    assert _survey(five, RevokeSessions(), only) == (0, 1, 0)
    assert _carry_out(five, RevokeSessions(), only) == {"ada": "done"}
    [entry] = audit_rows(five, "session.revoked_all")
    assert entry.detail == {"sessions": 2}
    assert _carry_out(five, RevokeSessions(), only) == {}
    assert len(sessions.list_of(five, user_id=user_row(five, "zoe@example.org").id, actor=OPERATOR)) == 1


@pytest.mark.parametrize(
    ("change", "filters"),
    [
        (Deactivate(), Filters(status="active")),
        (Activate(), Filters(status="deactivated")),
        (SetRole("moderator"), Filters(role="user", prefix="z")),
        (RevokeSessions(), EVERYBODY),
    ],
    ids=str,
)
def test_who_is_none_of_them_any_more_by_his_turn_is_left_alone(
    core: Core, change: Change, filters: Filters
) -> None:
    """Both are found in one page; while the first is dealt with, somebody else acts on the second."""
    for name in ("zed", "zoe"):
        active(core, f"{name}@example.org")
        logged_in(core, f"{name}@example.org")
    if isinstance(change, Activate):
        _carry_out(core, Deactivate(), EVERYBODY)
    outcomes = bulk.carry_out(core, change=change, filters=filters, actor=OPERATOR)
    assert next(outcomes).what == "done"
    zoe = user_row(core, "zoe@example.org")
    match change:
        case Activate():
            admin.activate(core, user_id=zoe.id, actor=OPERATOR)
        case SetRole():
            admin.set_role(core, user_id=zoe.id, role="admin", actor=OPERATOR)
        case _:
            admin.deactivate(core, user_id=zoe.id, actor=OPERATOR)
    before = user_row(core, "zoe@example.org")
    assert [outcome.what for outcome in outcomes] == ["skipped"]
    assert user_row(core, "zoe@example.org") == before


def test_who_stops_leaves_whole_accounts_and_the_next_goes_on(five: Core) -> None:
    active_ones = Filters(status="active")
    outcomes = bulk.carry_out(five, change=Deactivate(), filters=active_ones, actor=OPERATOR)
    assert next(outcomes).account.email == EMAIL
    outcomes.close()
    assert (_status(five)["ada"], _status(five)["zoe"]) == ("deactivated", "active")
    assert _carry_out(five, Deactivate(), active_ones) == {"zoe": "done"}


def test_any_number_is_gone_through_page_by_page(five: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST", 2)
    assert list(_carry_out(five, Deactivate(), EVERYBODY)) == ["ada", "ivy", "pia", "zoe"]
    assert bulk.survey(five, change=Deactivate(), filters=EVERYBODY, actor=OPERATOR) == Survey(5, 0, 0)


def test_the_rights_of_the_actor_are_asked_for_at_each_account(core: Core) -> None:
    active(core)
    an_admin(core)
    by = signed_in(core, "root@example.org")
    assert _carry_out(core, Deactivate(), EVERYBODY, by) == {"ada": "done", "root": "OWN_ACCOUNT"}
    admin.activate(core, user_id=user_row(core).id, actor=OPERATOR)
    admin.set_role(core, user_id=user_row(core).id, role="admin", actor=OPERATOR)
    going = bulk.carry_out(core, change=SetRole("user"), filters=EVERYBODY, actor=signed_in(core))
    assert next(going).what == "refused"
    admin.set_role(core, user_id=user_row(core).id, role="user", actor=OPERATOR)
    moderator = signed_in(core)
    for step in (bulk.survey, bulk.concerned, bulk.carry_out):
        with pytest.raises(Forbidden):
            list(step(core, change=Deactivate(), filters=EVERYBODY, actor=moderator))  # type: ignore[call-overload]
    with pytest.raises(SessionEnded):
        sessions.revoke_all(core, user_id=moderator.user_id, actor=OPERATOR)  # type: ignore[arg-type]
        list(bulk.carry_out(core, change=Deactivate(), filters=EVERYBODY, actor=moderator))
