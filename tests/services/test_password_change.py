"""Passwords that an operator set: they open no session before their owners replace them."""

from dataclasses import replace

import pytest

from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    signed_in,
    text_of,
    token_in,
    user_row,
    watching_hashes,
)
from usersvc.core import Core
from usersvc.errors import (
    AccountDeactivated,
    DomainError,
    Forbidden,
    InvalidCredentials,
    NotActive,
    PasswordChangeRequired,
    SessionEnded,
    TooManyAttempts,
    UserNotFound,
    WeakPassword,
)
from usersvc.security.secrets import new_id
from usersvc.services import password_change, passwords, sessions
from usersvc.services.actor import Actor
from usersvc.services.sessions import TokenPair

# What is told and refused is the same on every database.
pytestmark = pytest.mark.sqlite

OWN = "marble 92 otter fog"


def set_for(core: Core, *, must_change: bool = True, actor: Actor = OPERATOR) -> None:
    password_change.set_for(
        core, user_id=user_row(core).id, password=OTHER_PASSWORD, must_change=must_change, actor=actor
    )


def change(core: Core, email: str = EMAIL, current: str = OTHER_PASSWORD, new: str = OWN) -> TokenPair:
    return password_change.change_and_log_in(
        core, email=email, current_password=current, new_password=new, actor=STRANGER
    )


def test_a58_a_password_that_an_operator_set_is_replaced_before_it_opens_a_session(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    set_for(core)
    assert ["was changed" in text_of(message) for message in delivered(core)] == [True]
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    with pytest.raises(PasswordChangeRequired):
        logged_in(core, password=OTHER_PASSWORD)
    for weak in ("short", EMAIL, OTHER_PASSWORD):
        with pytest.raises(WeakPassword):
            change(core, new=weak)
    assert user_row(core).must_change_password
    pair = change(core)
    assert sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    row = user_row(core)
    assert (row.must_change_password, row.last_login_at) == (False, core.clock.now())
    assert logged_in(core, password=OWN)
    with pytest.raises(InvalidCredentials):
        change(core)


def test_a_reset_by_mail_and_the_owners_own_change_are_replacements_too(core: Core) -> None:
    active(core)
    set_for(core)
    delivered(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    passwords.reset(core, token=token_in(delivered(core)[-1]), new_password=OWN, actor=STRANGER)
    assert logged_in(core, password=OWN)
    by = signed_in(core, password=OWN)
    set_for(core, must_change=False)
    assert logged_in(core, password=OTHER_PASSWORD)
    assert [row.detail["must_change"] for row in audit_rows(core, "password.set")] == [True, False]
    with pytest.raises(Forbidden):
        set_for(core, actor=by)


def test_a10_changing_answers_as_logging_in_does_after_as_much_work(core: Core) -> None:
    active(core)
    pending(core, "pia@example.org")
    invited(core, "ina@example.org")
    deactivated(core, "gone@example.org")
    with watching_hashes(core) as (watched, pool):

        def answer(email: str, current: str) -> tuple[str, str, int]:
            before = pool.jobs
            with pytest.raises(DomainError) as found:
                change(watched, email, current)
            return found.type.code, str(found.value), pool.jobs - before

        wrong = {
            answer(email, OTHER_PASSWORD)
            for email in (
                EMAIL,
                "pia@example.org",
                "ina@example.org",
                "gone@example.org",
                "no@example.org",
                "x",
            )
        }
        assert wrong == {(InvalidCredentials.code, InvalidCredentials.message, 1)}
        assert answer("pia@example.org", PASSWORD)[0] == InvalidCredentials.code
        assert answer("gone@example.org", PASSWORD)[0] == AccountDeactivated.code
    for _ in range(4):
        with pytest.raises(InvalidCredentials):
            change(core)
    with pytest.raises(TooManyAttempts):
        change(core, current=PASSWORD)
    with pytest.raises(TooManyAttempts):
        logged_in(core)


def test_a17b_of_a_change_and_what_replaced_the_password_meanwhile_the_change_is_void(core: Core) -> None:
    active(core)
    set_for(core)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: set_for(core)
        with pytest.raises(InvalidCredentials):
            change(watched)
    assert user_row(core).must_change_password
    assert change(core)


def test_a_password_is_set_for_active_accounts_alone(core: Core) -> None:
    invited(core)
    with pytest.raises(NotActive, match="invited"):
        set_for(core)
    with pytest.raises(UserNotFound):
        password_change.set_for(
            core, user_id=new_id(core.clock.now()), password=OTHER_PASSWORD, actor=OPERATOR
        )
    active(core, "bob@example.org")
    with pytest.raises(WeakPassword):
        password_change.set_for(
            core, user_id=user_row(core, "bob@example.org").id, password="bob", actor=OPERATOR
        )
    assert not user_row(core, "bob@example.org").must_change_password


def test_replacing_it_from_a_new_device_is_told(core: Core) -> None:
    active(core)
    logged_in(core)
    set_for(core)
    delivered(core)
    password_change.change_and_log_in(
        core,
        email=EMAIL,
        current_password=OTHER_PASSWORD,
        new_password=OWN,
        actor=replace(STRANGER, ip="198.51.100.7"),
    )
    assert any("198.51.100.7" in text_of(message) for message in delivered(core))
