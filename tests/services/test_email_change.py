"""Changes of address: confirmed by the new mailbox, undone by the old one, whatever a thief does."""

from dataclasses import replace
from email.message import EmailMessage

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    deactivated,
    delivered,
    invited,
    logged_in,
    outbox_rows,
    pending,
    rewrite_user,
    signed_in,
    text_of,
    together,
    token_in,
    user_row,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    DomainError,
    EmailTaken,
    EmailUnchanged,
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    NotActive,
    SessionEnded,
    TooManyAttempts,
    WrongPassword,
)
from usersvc.services import (
    accounts,
    admin,
    deletion,
    email_change,
    invitations,
    login,
    login_alerts,
    maintenance,
    passwords,
    registration,
    sessions,
)
from usersvc.services.actor import Actor

B, C, D = "bob@example.net", "cleo@example.net", "dora@example.net"


def to(message: EmailMessage) -> str:
    return str(message["To"].addresses[0].addr_spec)


def mails(core: Core) -> dict[str, str]:
    """The texts of the mails that go out now, by whom they go to."""
    return {to(message): text_of(message) for message in delivered(core)}


def asked(core: Core, by: Actor, email: str, password: str = PASSWORD) -> str:
    """The token that the new mailbox gets."""
    email_change.ask(core, email=email, password=password, actor=by)
    [message] = delivered(core)
    assert to(message) == email
    return token_in(message)


def changed(core: Core, by: Actor, email: str) -> str:
    """Move the account; the token of the way back, in the mailbox it had."""
    before = accounts.find(core, name=str(by.user_id), actor=OPERATOR).email
    email_change.confirm(core, token=asked(core, by, email), actor=STRANGER)
    [message] = delivered(core)
    assert to(message) == before
    return token_in(message)


def chosen(core: Core, password: str = OTHER_PASSWORD) -> str:
    """Choose a password by the reset link that is on its way; whose mailbox it came to."""
    [message] = [one for one in delivered(core) if "reset-password" in text_of(one)]
    passwords.reset(core, token=token_in(message), new_password=password, actor=STRANGER)
    delivered(core)
    return to(message)


def fails(core: Core, password: str, email: str) -> type[DomainError]:
    with pytest.raises(DomainError) as found:
        logged_in(core, email, password)
    return found.type


def test_a33_a_new_address_counts_once_its_mailbox_confirmed_it(core: Core, clock: MovedClock) -> None:
    active(core)
    by, other = signed_in(core), logged_in(core)
    token = asked(core, by, "Bob@example.net")
    assert logged_in(core), "nothing is changed yet"
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    reset = token_in(delivered(core)[-1])
    account = email_change.confirm(core, token=token, actor=STRANGER)
    assert (account.email, account.email_verified, user_row(core, B).email_key) == (
        "Bob@example.net",
        True,
        B,
    )
    told = mails(core)
    assert list(told) == [EMAIL]
    assert "B***@example.net" in told[EMAIL]
    assert fails(core, PASSWORD, EMAIL) is InvalidCredentials
    assert [view.id for view in sessions.list_own(core, actor=by)] == [by.session_id]
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=other.refresh_token, actor=STRANGER)
    for dead in (
        lambda: email_change.confirm(core, token=token, actor=STRANGER),
        lambda: passwords.reset(core, token=reset, new_password=OTHER_PASSWORD, actor=STRANGER),
    ):
        with pytest.raises(InvalidLink):
            dead()
    assert logged_in(core, B)


@pytest.mark.sqlite
def test_a33_asking_again_a_new_password_and_time_end_what_was_asked_for(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    by = signed_in(core)
    first = asked(core, by, B)
    second = asked(core, by, C)
    passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=by)
    by = signed_in(core, password=OTHER_PASSWORD)
    delivered(core)
    third = asked(core, by, D, OTHER_PASSWORD)
    clock.move(hours=24)
    for token in (first, second, third):
        with pytest.raises(InvalidLink):
            email_change.confirm(core, token=token, actor=STRANGER)
    assert user_row(core).email == EMAIL
    maintenance.purge(core, actor=OPERATOR)
    with core.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM email_changes").scalar_one() == 0


@pytest.mark.sqlite
def test_a33_a_new_password_ends_what_was_asked_for_and_is_not_mailed_yet(core: Core) -> None:
    """The worker may be late: else a thief got his link after the owner put him out."""
    active(core)
    by = signed_in(core)
    email_change.ask(core, email=B, password=PASSWORD, actor=by)
    passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=by)
    assert list(mails(core)) == [EMAIL]


@pytest.mark.sqlite
def test_a32_a_session_without_the_password_changes_nothing(core: Core) -> None:
    active(core)
    by = signed_in(core)
    for _ in range(4):
        with pytest.raises(WrongPassword):
            email_change.ask(core, email=B, password=OTHER_PASSWORD, actor=by)
    with pytest.raises(InvalidEmail):
        email_change.ask(core, email="no address", password=PASSWORD, actor=by)
    with pytest.raises(EmailUnchanged):
        email_change.ask(core, email=EMAIL.title().replace("Org", "org"), password=PASSWORD, actor=by)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            email_change.ask(core, email=B, password=OTHER_PASSWORD, actor=by)
    with pytest.raises(TooManyAttempts):
        email_change.ask(core, email=B, password=PASSWORD, actor=by)
    assert delivered(core) == []


@pytest.mark.sqlite
def test_a_new_address_gets_few_mails_and_an_account_asks_for_few(core: Core, clock: MovedClock) -> None:
    active(core)
    by = signed_in(core)
    for _ in range(3):
        email_change.ask(core, email=B, password=PASSWORD, actor=by)
        assert len(delivered(core)) <= 1
    assert [row.status for row in outbox_rows(core) if row.kind == "email_change"] == ["sent"]
    for email in (C, D):
        assert asked(core, by, email)
    with pytest.raises(TooManyAttempts):
        email_change.ask(core, email="eve@example.net", password=PASSWORD, actor=by)
    clock.move(minutes=61)
    assert asked(core, by, B)


@pytest.mark.sqlite
def test_a10_whoever_has_the_new_address_the_answer_and_what_is_written_are_the_same(make_core: Make) -> None:
    core = make_core(throttle__enabled=False)
    active(core)
    active(core, B)
    invited(core, C)
    pending(core, D)
    deactivated(core, "gone@example.net")
    moved = active(core, "moved@example.net")
    email_change.set_for(core, user_id=moved.id, email="away@example.net", actor=OPERATOR)
    delivered(core)
    by = signed_in(core)
    expected = {
        "free@example.net": "Confirm address",
        B: "already has an account",
        C: None,
        D: "Confirm address",
        "gone@example.net": None,
        "moved@example.net": "It was not me",
    }
    for email, text in expected.items():
        before = len(outbox_rows(core))
        email_change.ask(core, email=email, password=PASSWORD, actor=by)
        [row] = outbox_rows(core)[before:]
        assert (row.kind, row.address, row.user_id, list(row.data)) == (
            "change_email",
            email,
            by.user_id,
            ["change"],
        )
        told = mails(core)
        assert list(told) == ([email] if text else [])
        assert text is None or text in told[email]


def test_a33_the_way_back_survives_what_a_thief_does_and_takes_everything_back(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__enabled=False)
    active(core)
    thief = signed_in(core)
    way_back = changed(core, thief, B)
    clock.move(days=1)
    from_b = changed(core, thief, C)
    passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=thief)
    thief = signed_in(core, C, OTHER_PASSWORD)
    user_id = user_row(core, C).id
    admin.deactivate(core, user_id=user_id, actor=OPERATOR)
    with pytest.raises(InvalidLink):
        email_change.restore(core, token=way_back, actor=STRANGER)
    admin.activate(core, user_id=user_id, actor=OPERATOR)
    # His own way back ends nothing that is older.
    email_change.restore(core, token=from_b, actor=STRANGER)
    assert chosen(core, PASSWORD) == B
    thief = signed_in(core, B)
    waiting = asked(core, thief, D)
    clock.move(days=5, hours=23)

    thief = signed_in(core, B)
    deletion.schedule(core, user_id=user_id, actor=OPERATOR)
    email_change.restore(core, token=way_back, actor=STRANGER)
    assert admin.show(core, user_id=user_id, actor=OPERATOR).deletion_due_at is None
    assert fails(core, PASSWORD, EMAIL) is InvalidCredentials
    assert sessions.list_own(core, actor=thief) == []
    for dead in (waiting, way_back, from_b):
        for spend in (email_change.confirm, email_change.restore):
            with pytest.raises(InvalidLink):
                spend(core, token=dead, actor=STRANGER)
    assert chosen(core, "marble 92 otter fog") == EMAIL
    assert logged_in(core, EMAIL, "marble 92 otter fog")
    assert user_row(core).id == user_id
    assert active(core, B), "nobody waits for that one any more"


@pytest.mark.sqlite
def test_a33_the_old_address_is_nobody_elses_while_there_is_a_way_back(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__enabled=False)
    active(core)
    by = signed_in(core)
    changed(core, by, B)
    assert registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER) is None
    assert "It was not me" in mails(core)[EMAIL]
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [again] = delivered(core)
    assert to(again) == EMAIL
    closed = make_core(registration__activation=False)
    other = active(core, C)
    for taking in (
        lambda: registration.register(closed, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER),
        lambda: invitations.invite(core, email=EMAIL, actor=OPERATOR),
        lambda: an_admin(core, EMAIL),
        lambda: email_change.set_for(core, user_id=other.id, email=EMAIL, actor=OPERATOR),
        lambda: email_change.ask_for(core, user_id=other.id, email=EMAIL, actor=OPERATOR),
    ):
        with pytest.raises(EmailTaken):
            taking()
    # It is still its own.
    email_change.confirm(core, token=asked(core, by, EMAIL), actor=STRANGER)
    email_change.set_for(core, user_id=user_row(core).id, email=B, actor=OPERATOR)
    delivered(core)
    clock.move(days=7)
    with pytest.raises(InvalidLink):
        email_change.restore(core, token=token_in(again), actor=STRANGER)
    assert active(core)


@pytest.mark.sqlite
def test_an_address_that_nobody_ever_confirmed_has_no_way_back(make_core: Make) -> None:
    core = make_core(registration__activation=False)
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    logged_in(core)
    login.log_in(core, email=EMAIL, password=PASSWORD, actor=replace(STRANGER, user_agent="curl/8"))
    [alert] = delivered(core)
    email_change.set_for(core, user_id=user_row(core).id, email=B, actor=OPERATOR)
    assert delivered(core) == []
    with pytest.raises(InvalidLink):
        login_alerts.end_session(core, token=token_in(alert), actor=STRANGER)
    assert registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    # What an operator typed on the shell is taken for right.
    root = an_admin(core)
    email_change.set_for(core, user_id=root.id, email=C, actor=OPERATOR)
    assert list(mails(core)) == ["root@example.org"]


@pytest.mark.sqlite
def test_a02_a_stranger_who_registers_the_new_address_is_not_in_the_way(core: Core) -> None:
    active(core)
    token = asked(core, signed_in(core), B)
    link = pending(core, B, OTHER_PASSWORD)
    email_change.confirm(core, token=token, actor=STRANGER)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=link, actor=STRANGER)
    assert fails(core, OTHER_PASSWORD, B) is InvalidCredentials
    assert logged_in(core, B)


def test_a33_of_two_accounts_that_confirm_one_address_at_once_one_gets_it(core: Core) -> None:
    tokens = []
    for email in (EMAIL, C):
        active(core, email)
        email_change.ask_for(core, user_id=user_row(core, email).id, email=B, actor=OPERATOR)
        tokens.append(token_in(delivered(core)[-1]))
    pending(core, B)
    found = together(
        *(lambda token=token: email_change.confirm(core, token=token, actor=STRANGER) for token in tokens)
    )
    assert sorted(type(one).__name__ for one in found) == ["Account", "EmailTaken"]
    lost = tokens[[type(one) for one in found].index(EmailTaken)]
    with pytest.raises(InvalidLink):
        email_change.confirm(core, token=lost, actor=STRANGER)
    assert user_row(core, B).status == "active"


def test_a33_whoever_registers_while_an_address_is_given_up_does_not_get_it(core: Core) -> None:
    """The reservation is seen by who waited for the index: on PostgreSQL both are under way at once."""
    account = active(core)
    email_change.ask_for(core, user_id=account.id, email=B, actor=OPERATOR)
    token = token_in(delivered(core)[-1])
    together(
        lambda: email_change.confirm(core, token=token, actor=STRANGER),
        *[
            lambda: registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
            for _ in range(3)
        ],
    )
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) is None
    assert user_row(core, B).id == account.id


@pytest.mark.sqlite
def test_an_operator_is_told_what_cannot_be(core: Core) -> None:
    account = active(core)
    active(core, B)
    for use in (email_change.ask_for, email_change.set_for):
        with pytest.raises(EmailTaken):
            use(core, user_id=account.id, email=B, actor=OPERATOR)
        with pytest.raises(EmailUnchanged):
            use(core, user_id=account.id, email=EMAIL, actor=OPERATOR)
    rewrite_user(core, status="deactivated")
    with pytest.raises(NotActive, match="deactivated"):
        email_change.set_for(core, user_id=account.id, email=C, actor=OPERATOR)
    assert delivered(core) == []


@pytest.mark.sqlite
def test_a_password_that_was_replaced_meanwhile_asks_for_nothing(core: Core) -> None:
    active(core)
    by = signed_in(core)
    attempt_by = replace(by, ip="192.0.2.9")
    rewrite_user(core, password_hash=core.hasher.hash(OTHER_PASSWORD))
    with pytest.raises(WrongPassword):
        email_change.ask(core, email=B, password=PASSWORD, actor=attempt_by)
    assert login.log_in(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
