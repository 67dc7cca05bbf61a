"""Invitations: the mailed link chooses a password and activates; it works once and for nothing else."""

from datetime import timedelta
from functools import partial

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    audit_rows,
    delivered,
    invited,
    logged_in,
    outbox_rows,
    pending,
    token_in,
    user_row,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    InvalidUsername,
    UsernameTaken,
    WeakPassword,
)
from usersvc.services import admin, invitations, passwords, registration


def _accept(core: Core, token: str, password: str = PASSWORD) -> None:
    passwords.reset(core, token=token, new_password=password, actor=STRANGER)


def _asked_again(core: Core) -> str:
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    assert mail["Subject"].startswith("You are invited")
    return token_in(mail)


def test_a58_the_link_chooses_a_password_activates_and_verifies(core: Core) -> None:
    token = invited(core, username="Ada", role="moderator")
    made = user_row(core)
    assert (made.status, made.password_hash, made.email_verified_at) == ("invited", None, None)
    _accept(core, token)
    user = user_row(core)
    assert (user.status, user.role, user.username) == ("active", "moderator", "ada")
    assert user.email_verified_at == user.activated_at == core.clock.now()
    assert logged_in(core)
    [entry] = audit_rows(core, "user.activated")
    assert (entry.target_id, entry.detail) == (user.id, {"before": "invited"})


def test_the_link_works_once_and_a_weak_password_does_not_spend_it(core: Core) -> None:
    token = invited(core)
    with pytest.raises(WeakPassword):
        _accept(core, token, "short")
    _accept(core, token)
    with pytest.raises(InvalidLink):
        _accept(core, token, OTHER_PASSWORD)
    assert logged_in(core)


def test_the_link_dies_when_the_account_is_deactivated(core: Core) -> None:
    token = invited(core)
    admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR)
    with pytest.raises(InvalidLink):
        _accept(core, token)
    assert user_row(core).status == "deactivated"


@pytest.mark.parametrize("hours", [1, 72])
def test_the_link_dies_on_the_second(make_core: Make, clock: MovedClock, hours: int) -> None:
    core = make_core(registration__invitation_hours=hours)
    token = invited(core)
    clock.move(hours=hours)
    with pytest.raises(InvalidLink):
        _accept(core, token)
    clock.at -= timedelta(seconds=1)
    _accept(core, token)
    assert user_row(core).status == "active"


def test_the_same_link_is_mailed_again_while_it_lives_then_a_fresh_one(core: Core, clock: MovedClock) -> None:
    token = invited(core)
    clock.move(hours=71)
    assert _asked_again(core) == token
    # Its first expiry stays: asking again does not prolong it.
    clock.move(hours=1)
    with pytest.raises(InvalidLink):
        _accept(core, token)
    fresh = _asked_again(core)
    assert fresh != token
    with pytest.raises(InvalidLink):
        _accept(core, token)
    _accept(core, fresh)
    assert logged_in(core)


def test_who_accepted_gets_a_reset_link_from_then_on(core: Core, clock: MovedClock) -> None:
    _accept(core, invited(core))
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    assert mail["Subject"].startswith("Reset your password")


def test_a_username_that_was_taken_meanwhile_gives_none(core: Core) -> None:
    token = invited(core, username="ada")
    active(core, "bob@example.org", username="ada")
    _accept(core, token)
    assert (user_row(core).status, user_row(core).username) == ("active", None)
    assert user_row(core, "bob@example.org").username == "ada"


def test_a_username_that_is_taken_invites_nobody(core: Core) -> None:
    active(core, "bob@example.org", username="ada")
    with pytest.raises(UsernameTaken):
        invitations.invite(core, email=EMAIL, username="ADA", actor=OPERATOR)
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) is None


def test_a_link_for_one_thing_does_nothing_else(core: Core, clock: MovedClock) -> None:
    invitation = invited(core)
    activation = pending(core, "bob@example.org")
    active(core, "eve@example.org")
    passwords.forgot(core, email="eve@example.org", actor=STRANGER)
    [mail] = delivered(core)
    for token in (invitation, token_in(mail)):
        with pytest.raises(InvalidLink):
            registration.activate(core, token=token, password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidLink):
        _accept(core, activation)
    assert [user_row(core, email).status for email in (EMAIL, "bob@example.org")] == ["invited", "pending"]


def test_a02_inviting_a_pending_account_voids_what_a_stranger_left(core: Core) -> None:
    activation = pending(core, username="mallory")
    before = user_row(core)
    token = invited(core, role="admin", username="ada")
    user = user_row(core)
    assert (user.id, user.role, user.username, user.password_hash) == (before.id, "admin", "ada", None)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=activation, actor=STRANGER)
    _accept(core, token, OTHER_PASSWORD)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    assert logged_in(core, password=OTHER_PASSWORD)


def test_an_invited_address_is_not_invited_twice(core: Core) -> None:
    token = invited(core)
    mails = len(outbox_rows(core))
    with pytest.raises(EmailTaken):
        invitations.invite(core, email="ADA@example.org", role="admin", actor=OPERATOR)
    assert (user_row(core).role, len(outbox_rows(core))) == ("user", mails)
    assert len(audit_rows(core, "user.invited")) == 1
    _accept(core, token)


def test_an_impossible_address_or_username_invites_nobody(core: Core) -> None:
    with pytest.raises(InvalidEmail):
        invitations.invite(core, email="no address", actor=OPERATOR)
    with pytest.raises(InvalidUsername):
        invitations.invite(core, email=EMAIL, username="!", actor=OPERATOR)
    assert outbox_rows(core) == []


@pytest.mark.parametrize("again", ["forgot", "resend", "register"])
def test_who_asks_again_and_again_leaves_the_last_mail_of_the_hour_to_a_fresh_invitation(
    make_core: Make, clock: MovedClock, again: str
) -> None:
    core = make_core(registration__invitation_hours=1)
    ask = {
        "forgot": partial(passwords.forgot, core),
        "resend": partial(registration.resend_activation, core),
        "register": partial(registration.register, core, password=PASSWORD),
    }[again]
    first, tokens = invited(core), []
    for minutes in (30, *[2] * 6, 20, 2):
        clock.move(minutes=minutes)
        ask(email=EMAIL, actor=STRANGER)
        tokens.append([token_in(mail) for mail in delivered(core)])
    *repeated, fresh, last = tokens
    assert repeated == [[first]] * 4 + [[]] * 3
    assert len(fresh) == 1
    assert fresh != [first]
    assert last == []
