import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from tests.conftest import Make
from tests.database import before_next_write, refusing
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    outbox_rows,
    pending,
    rewrite_user,
    text_of,
    together,
    token_in,
    user_row,
    watching_hashes,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    DatabaseBusy,
    EmailTaken,
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    InvalidUsername,
    Overloaded,
    PasswordRequired,
    RegistrationClosed,
    UsernameTaken,
    WeakPassword,
)
from usersvc.services import registration
from usersvc.services.actor import Actor

register = partial(registration.register, actor=STRANGER)
AFTER_THE_PAUSE = 61


WRITE = "a transaction that writes begins"


@contextmanager
def statements(core: Core) -> Iterator[list[str]]:
    """What is said to the database, by readers and the writer, in order."""
    said: list[str] = []

    def hear(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    def begin(_c: Any) -> None:
        said.append(WRITE)

    engines = (core.database._reader, core.database._writer)
    event.listen(core.database._writer, "begin", begin)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(core.database._writer, "begin", begin)
        for engine in engines:
            event.remove(engine, "before_cursor_execute", hear)


def test_who_registers_and_opens_the_link_has_an_active_account(core: Core) -> None:
    account = active(core)
    assert (account.email, account.status, account.email_verified) == (EMAIL, "active", True)


def test_registering_makes_a_pending_account_and_answers_nothing(core: Core, stranger: Actor) -> None:
    assert registration.register(core, email=EMAIL, password=PASSWORD, actor=stranger) is None
    row = user_row(core)
    assert (row.status, row.role, row.email_verified_at, row.activated_at) == ("pending", "user", None, None)
    assert row.registered_at == row.created_at == core.clock.now()
    assert PASSWORD not in str(row.password_hash)
    [message] = delivered(core)
    assert message["To"].addresses[0].addr_spec == EMAIL
    assert message["Subject"].startswith("Activate your account")


def test_a68_a_registration_is_one_audit_entry(core: Core, stranger: Actor) -> None:
    registration.register(core, email=EMAIL, password=PASSWORD, actor=stranger)
    [entry] = audit_rows(core, "user.registered")
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("anonymous", None, user_row(core).id)
    assert (entry.ip, entry.request_id, entry.outcome) == ("192.0.2.1", "test-request", "ok")
    assert entry.at == core.clock.now()
    registration.register(core, email=EMAIL, password=PASSWORD, actor=stranger)
    [again] = audit_rows(core, "user.registered_again")
    assert (again.target_id, again.ip, again.request_id) == (user_row(core).id, "192.0.2.1", "test-request")


@pytest.mark.parametrize("table", ["audit", "outbox"])
def test_a68_a_registration_without_its_audit_entry_or_mail_does_not_happen(core: Core, table: str) -> None:
    with refusing(core, "INSERT", table), pytest.raises(DBAPIError):
        register(core, email=EMAIL, password=PASSWORD)
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) is None
    assert active(core).status == "active"


# -- what a registration meets: the answer and the work are the same for all


def _unknown(core: Core) -> None:
    pass


def _pending_same_password(core: Core) -> None:
    pending(core)
    core.clock.move(seconds=AFTER_THE_PAUSE)


def _pending_other_password(core: Core) -> None:
    pending(core, password=OTHER_PASSWORD)
    core.clock.move(seconds=AFTER_THE_PAUSE)


def _pending_within_the_pause(core: Core) -> None:
    pending(core)


def _pending_without_a_password(core: Core) -> None:
    pending(core)
    register(core, email=EMAIL, password=OTHER_PASSWORD)
    assert user_row(core).password_hash is None


def _invited(core: Core) -> None:
    invited(core, role="admin")


def _deactivated(core: Core) -> None:
    deactivated(core)


def _active(core: Core) -> None:
    active(core)


def _active_within_the_pause(core: Core) -> None:
    active(core)
    register(core, email=EMAIL, password=PASSWORD)


MEETINGS = [
    _unknown,
    _pending_same_password,
    _pending_other_password,
    _pending_within_the_pause,
    _pending_without_a_password,
    _invited,
    _deactivated,
    _active,
    _active_within_the_pause,
]


@pytest.mark.parametrize("meet", MEETINGS, ids=lambda meet: meet.__name__.strip("_"))
def test_a02f_every_registration_takes_one_hash_one_transaction_and_one_ring(
    core: Core, meet: Callable[[Core], None]
) -> None:
    meet(core)
    rings: list[bool] = []
    core.doorbell = lambda: rings.append(True)
    with watching_hashes(core) as (watched, pool), statements(core) as said:
        answer = register(watched, email=EMAIL, password=PASSWORD, username="ada")
    assert answer is None
    assert pool.jobs == 1
    # One counts the request, whoever it is about; the other does the work.
    assert said.count(WRITE) == 2
    assert rings == [True]


def test_an_address_with_an_invitation_is_left_as_it_is(core: Core) -> None:
    _invited(core)
    before = user_row(core)
    register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory")
    assert user_row(core) == before


@pytest.mark.parametrize(
    "values",
    [{"role": "moderator"}, {"role": "admin"}, {"invited": True}],
    ids=["moderator", "admin", "invited"],
)
def test_a02e_a_pending_account_that_an_administrator_touched_is_not_made_over(
    core: Core, clock: MovedClock, values: dict[str, Any]
) -> None:
    pending(core, username="ada")
    # Administrators' commands on pending accounts are not written yet.
    rewrite_user(core, **({"invited_at": clock.now()} if "invited" in values else values))
    before = user_row(core)
    clock.move(seconds=AFTER_THE_PAUSE)
    register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory")
    assert user_row(core) == before
    assert delivered(core) == []


def test_a_deactivated_account_gets_no_mail_and_stays_as_it_is(core: Core) -> None:
    _deactivated(core)
    before = user_row(core)
    register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory")
    assert user_row(core) == before
    assert delivered(core) == []


def test_a03_the_owner_of_a_known_address_is_told_and_nothing_changes(core: Core) -> None:
    active(core, username="ada")
    tokens = logged_in(core)
    before = user_row(core)
    assert register(core, email="ADA@example.org", password=OTHER_PASSWORD, username="mallory") is None
    assert user_row(core) == before
    [message] = delivered(core)
    assert message["Subject"].startswith("You already have an account")
    assert message["To"].addresses[0].addr_spec == EMAIL
    assert "token=" not in text_of(message)
    assert logged_in(core).access_token != tokens.access_token
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)


def test_a03_the_owner_is_told_once_within_the_pause_and_again_after_it(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    counts = []
    for seconds in (0, 59, 1):
        clock.move(seconds=seconds)
        register(core, email=EMAIL, password=OTHER_PASSWORD)
        counts.append(len(delivered(core)))
    assert counts == [1, 0, 1]


# -- whose password it is


def test_a02_who_registers_before_the_owner_gets_nothing_of_him(core: Core, clock: MovedClock) -> None:
    attackers_link = pending(core, password=OTHER_PASSWORD, username="mallory")
    clock.move(seconds=AFTER_THE_PAUSE)
    owners_link = pending(core, password=PASSWORD)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=attackers_link, password=OTHER_PASSWORD, actor=STRANGER)
    account = registration.activate(core, token=owners_link, password=PASSWORD, actor=STRANGER)
    assert account.username is None
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert logged_in(core).access_token


def test_a02_the_owners_new_link_does_not_activate_with_anybodys_password(
    core: Core, clock: MovedClock
) -> None:
    pending(core, password=OTHER_PASSWORD)
    clock.move(seconds=AFTER_THE_PAUSE)
    owners_link = pending(core, password=PASSWORD)
    with pytest.raises(PasswordRequired):
        registration.activate(core, token=owners_link, actor=STRANGER)


def test_a02b_within_the_pause_the_strangers_password_is_wiped_and_the_link_stays(
    core: Core, clock: MovedClock
) -> None:
    link = pending(core, password=OTHER_PASSWORD, username="mallory")
    clock.move(seconds=30)
    register(core, email=EMAIL, password=PASSWORD)
    assert delivered(core) == []
    row = user_row(core)
    assert (row.password_hash, row.username) == (None, None)
    with pytest.raises(PasswordRequired):
        registration.activate(core, token=link, actor=STRANGER)
    registration.activate(core, token=link, password=PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert logged_in(core).access_token


@pytest.mark.parametrize("seconds", [30, AFTER_THE_PAUSE])
def test_a02c_who_registers_last_gets_nothing_of_the_owner(
    core: Core, clock: MovedClock, seconds: int
) -> None:
    link = pending(core, password=PASSWORD, username="ada")
    clock.move(seconds=seconds)
    register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory")
    link = next(map(token_in, delivered(core)), link)
    with pytest.raises(PasswordRequired):
        registration.activate(core, token=link, actor=STRANGER)
    account = registration.activate(core, token=link, password=PASSWORD, actor=STRANGER)
    assert account.username is None
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)


def test_a02d_a_spent_mail_limit_does_not_keep_the_strangers_password(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__mails_per_hour=2)
    link = ""
    for _ in range(2):
        link = pending(core, password=OTHER_PASSWORD)
        clock.move(seconds=AFTER_THE_PAUSE)
    register(core, email=EMAIL, password=PASSWORD)
    assert delivered(core) == []
    with pytest.raises(PasswordRequired):
        registration.activate(core, token=link, actor=STRANGER)
    registration.activate(core, token=link, password=PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)


def test_once_wiped_a_password_does_not_come_back_by_registering(core: Core) -> None:
    link = pending(core, password=PASSWORD)
    register(core, email=EMAIL, password=OTHER_PASSWORD)
    for password in (PASSWORD, OTHER_PASSWORD):
        register(core, email=EMAIL, password=password)
        assert user_row(core).password_hash is None
    assert registration.needs_password(core, token=link)


def test_r22_the_same_person_repeating_a_request_keeps_password_and_username(
    core: Core, clock: MovedClock
) -> None:
    first_link = pending(core, username="ada")
    before = user_row(core)
    clock.move(seconds=AFTER_THE_PAUSE)
    link = pending(core)
    row = user_row(core)
    assert row == replace(before, registered_at=clock.now(), updated_at=clock.now())
    assert link != first_link
    account = registration.activate(core, token=link, actor=STRANGER)
    assert account.username == "ada"
    assert logged_in(core).access_token


def test_the_same_person_may_ask_for_another_username(core: Core) -> None:
    pending(core, username="ada")
    register(core, email=EMAIL, password=PASSWORD, username="lovelace")
    assert user_row(core).username == "lovelace"


def test_the_same_password_in_another_unicode_form_is_the_same_password(core: Core) -> None:
    pending(core, password="caf\u00e9 quilt 41 lamp")
    register(core, email=EMAIL, password="cafe\u0301 quilt 41 lamp")
    assert user_row(core).password_hash is not None


def test_within_the_pause_the_older_link_keeps_working(core: Core, clock: MovedClock) -> None:
    link = pending(core)
    clock.move(seconds=59)
    register(core, email=EMAIL, password=PASSWORD)
    assert delivered(core) == []
    assert registration.activate(core, token=link, actor=STRANGER).status == "active"


def test_after_the_pause_only_the_newest_link_works(core: Core, clock: MovedClock) -> None:
    old_link = pending(core)
    clock.move(seconds=60)
    new_link = pending(core)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=old_link, actor=STRANGER)
    assert registration.activate(core, token=new_link, actor=STRANGER).status == "active"


def test_an_account_that_appears_while_hashing_is_met_as_it_is_then(core: Core) -> None:
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory")
        register(watched, email=EMAIL, password=PASSWORD)
    row = user_row(core)
    assert (row.password_hash, row.username) == (None, None)
    assert len(delivered(core)) == 1


def test_a_password_that_is_wiped_while_it_is_verified_stays_wiped(core: Core) -> None:
    pending(core)
    with before_next_write(core, "UPDATE users SET password_hash = NULL"):
        register(core, email=EMAIL, password=PASSWORD)
    assert user_row(core).password_hash is None


def test_an_account_that_vanishes_while_hashing_is_registered_anew(core: Core) -> None:
    pending(core, password=OTHER_PASSWORD)
    with before_next_write(core, "DELETE FROM users"):
        register(core, email=EMAIL, password=PASSWORD)
    assert user_row(core).password_hash is not None


# -- limits of mail


def test_no_more_mails_of_a_kind_go_to_an_address_in_an_hour_than_allowed(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__mails_per_hour=2)
    links = []
    for _ in range(4):
        register(core, email=EMAIL, password=PASSWORD)
        links += map(token_in, delivered(core))
        clock.move(minutes=2)
    assert len(links) == 2
    clock.move(hours=1)
    register(core, email=EMAIL, password=PASSWORD)
    links += map(token_in, delivered(core))
    assert len(links) == 3
    assert registration.activate(core, token=links[-1], actor=STRANGER).status == "active"


def test_the_pause_between_two_mails_holds_across_the_end_of_the_hour(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(minutes=59, seconds=50)
    pending(core)
    clock.move(seconds=20)
    register(core, email=EMAIL, password=PASSWORD)
    assert delivered(core) == []


def test_the_limit_of_one_address_does_not_hold_up_another(core: Core) -> None:
    pending(core)
    assert pending(core, "grace@example.org")


# -- usernames


def test_a_pending_account_reserves_no_username(core: Core) -> None:
    first = pending(core, username="ada")
    second = pending(core, "b@example.org", username="Ada")
    assert registration.activate(core, token=second, actor=STRANGER).username == "ada"
    account = registration.activate(core, token=first, actor=STRANGER)
    assert (account.status, account.username) == ("active", None)


@pytest.mark.parametrize("email", ["unknown@example.org", EMAIL, "pending@example.org", "gone@example.org"])
def test_a02f_a_taken_username_is_told_before_the_address_is_looked_at(core: Core, email: str) -> None:
    active(core, username="ada")
    pending(core, "pending@example.org")
    active(core, "gone@example.org", username="gone")
    rewrite_user(core, "gone@example.org", status="deactivated")  # deactivating is not written yet
    with watching_hashes(core) as (watched, pool), statements(core) as said:
        with pytest.raises(UsernameTaken):
            register(watched, email=email, password=PASSWORD, username="ADA")
        with pytest.raises(UsernameTaken):
            register(watched, email=email, password=PASSWORD, username="gone")
    assert pool.jobs == 0
    assert said.count(WRITE) == 2, "each was counted, and nothing else"


def test_usernames_are_compared_without_case(core: Core) -> None:
    assert active(core, username="Ada.L").username == "ada.l"
    with pytest.raises(UsernameTaken):
        register(core, email="b@example.org", password=PASSWORD, username="aDa.l")


# -- what is refused


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short 41 qz", "too short"),
        ("x" * 257, "too long"),
        ("\U0001f600" * 257, "too long"),
        ("passwordpassword", "easy to guess|common"),
        ("zebra ada@example.org quilt", "contains"),
        ("quilt lovelace 41 zebra", "contains"),
        ("1" * 40, "easy to guess"),
    ],
)
def test_a_weak_password_is_refused_with_a_reason_before_any_work(
    core: Core, password: str, reason: str
) -> None:
    with watching_hashes(core) as (watched, pool), pytest.raises(WeakPassword, match=reason):
        register(watched, email=EMAIL, password=password, username="lovelace")
    assert pool.jobs == 0
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) is None


def test_an_impossible_address_or_username_is_refused(core: Core) -> None:
    with pytest.raises(InvalidEmail):
        register(core, email="ada@localhost", password=PASSWORD)
    with pytest.raises(InvalidUsername):
        register(core, email=EMAIL, password=PASSWORD, username="a b")


def test_closed_registration_refuses_before_it_looks_at_anything(make_core: Make) -> None:
    core = make_core(registration__enabled=False)
    with watching_hashes(core) as (watched, pool), pytest.raises(RegistrationClosed):
        register(watched, email="nonsense", password="x", username=" ")
    assert pool.jobs == 0
    with pytest.raises(RegistrationClosed):
        register(core, email=EMAIL, password=PASSWORD)


# -- without activation


def test_without_activation_an_account_is_active_at_once_and_unverified(
    make_core: Make, stranger: Actor
) -> None:
    core = make_core(registration__activation=False)
    account = registration.register(core, email=EMAIL, password=PASSWORD, username="Ada", actor=stranger)
    assert account is not None
    assert (account.status, account.email_verified, account.username) == ("active", False, "ada")
    assert user_row(core).activated_at == core.clock.now()
    assert delivered(core) == []
    assert logged_in(core).access_token
    [entry] = audit_rows(core, "user.registered")
    assert (entry.target_id, entry.ip, entry.outcome) == (account.id, "192.0.2.1", "ok")


def test_without_activation_a_taken_address_is_told_and_keeps_its_password(make_core: Make) -> None:
    core = make_core(registration__activation=False)
    register(core, email=EMAIL, password=PASSWORD)
    before = user_row(core)
    with pytest.raises(EmailTaken):
        register(core, email="Ada@EXAMPLE.org", password=OTHER_PASSWORD)
    assert user_row(core) == before


def test_without_activation_one_username_goes_to_one_of_several_at_once(make_core: Make) -> None:
    core = make_core(registration__activation=False)
    answers = together(
        *(
            partial(register, core, email=f"{name}@example.org", password=PASSWORD, username="ada")
            for name in ("first", "second", "third", "fourth")
        )
    )
    taken = [answer for answer in answers if isinstance(answer, UsernameTaken)]
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]  # two from one address at once
    assert len(answers) - len(taken) - len(refused) == 1
    with core.read() as tx:
        assert tx.users.by_username_key("ada") is not None


# -- at once


def test_a09_parallel_registrations_of_one_address_leave_one_account_and_one_mail(make_core: Make) -> None:
    core = make_core(throttle__requests_per_minute=10_000)  # who is told to come again does so soon

    def register_from(number: int) -> object:
        actor = replace(STRANGER, ip=f"198.51.100.{number}")
        while True:
            try:
                return registration.register(core, email=EMAIL, password=PASSWORD, actor=actor)
            except (DatabaseBusy, Overloaded):
                threading.Event().wait(0.05)

    answers = together(*(partial(register_from, number) for number in range(30)))
    assert answers == [None] * 30
    assert len(audit_rows(core, "user.registered")) == 1
    assert len(audit_rows(core, "user.registered_again")) == 29
    [message] = delivered(core)
    registration.activate(core, token=token_in(message), actor=STRANGER)
    assert logged_in(core).access_token


# -- asking for another link


def test_asking_for_a_link_looks_nobody_up(core: Core, stranger: Actor) -> None:
    pending(core)
    active(core, "known@example.org")
    registration.resend_activation(core, email=EMAIL, actor=stranger)  # the counters stand from now on
    heard = []
    for email in (EMAIL, "known@example.org", "unknown@example.org"):
        with statements(core) as said:
            registration.resend_activation(core, email=email, actor=stranger)
        heard.append(said)
    assert heard[0] == heard[1] == heard[2]
    assert not any("FROM users" in statement for statement in heard[0])
    assert heard[0].count(WRITE) == 1


def test_asking_for_a_link_is_one_row_with_kind_and_canonical_address(core: Core, stranger: Actor) -> None:
    rings: list[bool] = []
    core.doorbell = lambda: rings.append(True)
    registration.resend_activation(core, email="Unknown@Example.ORG", actor=stranger)
    [row] = outbox_rows(core)
    assert (row.kind, row.address, row.user_id) == ("resend_activation", "unknown@example.org", None)
    assert rings == [True]
    [entry] = audit_rows(core, "activation.requested")
    assert (entry.target_id, entry.ip, entry.request_id) == (None, "192.0.2.1", "test-request")


def test_asking_for_a_link_gets_a_new_one_and_kills_the_old(core: Core, clock: MovedClock) -> None:
    old_link = pending(core)
    clock.move(seconds=60)
    registration.resend_activation(core, email="ADA@example.org", actor=STRANGER)
    assert len(outbox_rows(core)) == 2, "the request alone may not look the account up"
    [message] = delivered(core)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=old_link, actor=STRANGER)
    assert registration.activate(core, token=token_in(message), actor=STRANGER).status == "active"


def test_asking_for_a_link_within_the_pause_leaves_the_old_one_alive(core: Core, clock: MovedClock) -> None:
    link = pending(core)
    clock.move(seconds=59)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    assert delivered(core) == []
    assert outbox_rows(core)[-1].status == "dropped"
    assert registration.activate(core, token=link, actor=STRANGER).status == "active"


@pytest.mark.parametrize("meet", [_unknown, _deactivated, _active])
def test_asking_for_a_link_mails_nobody_else(
    core: Core, clock: MovedClock, meet: Callable[[Core], None]
) -> None:
    meet(core)
    clock.move(minutes=2)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    assert delivered(core) == []
    assert outbox_rows(core)[-1].status == "dropped"


def test_asking_for_a_link_keeps_password_and_username(core: Core, clock: MovedClock) -> None:
    pending(core, username="ada")
    before = user_row(core)
    clock.move(minutes=2)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    [message] = delivered(core)
    assert user_row(core) == before
    assert registration.activate(core, token=token_in(message), actor=STRANGER).username == "ada"


def test_a_doorbell_that_cannot_be_rung_stops_no_registration(core: Core) -> None:
    def broken() -> None:
        raise ConnectionError("no queue")

    core.doorbell = broken
    register(core, email=EMAIL, password=PASSWORD)
    assert len(delivered(core)) == 1
