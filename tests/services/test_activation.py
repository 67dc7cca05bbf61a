import re
from functools import partial
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import before_next_write
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    audit_rows,
    delivered,
    logged_in,
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
from usersvc.errors import InvalidCredentials, InvalidLink, PasswordRequired, WeakPassword
from usersvc.services import registration
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor

activate = partial(registration.activate, actor=STRANGER)


def without_password(core: Core) -> str:
    """The link of a pending account whose password somebody else's registration wiped."""
    link = pending(core)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    return link


def test_opening_the_link_makes_the_account_active_and_verified(core: Core, clock: MovedClock) -> None:
    link = pending(core, username="ada")
    clock.move(hours=1)
    account = activate(core, token=link)
    row = user_row(core)
    assert account == Account.of(row)
    assert (row.status, row.username, row.role) == ("active", "ada", "user")
    assert row.email_verified_at == row.activated_at == row.password_changed_at == clock.now()
    assert logged_in(core).access_token


def test_a68_an_activation_is_one_audit_entry(core: Core, stranger: Actor) -> None:
    account = registration.activate(core, token=pending(core), actor=stranger)
    [entry] = audit_rows(core, "user.activated")
    assert (entry.actor_kind, entry.target_id, entry.ip) == ("anonymous", account.id, "192.0.2.1")
    assert (entry.outcome, entry.request_id, entry.at) == ("ok", "test-request", core.clock.now())


def test_a24_looking_at_a_link_spends_nothing(core: Core) -> None:
    link = pending(core)
    for _ in range(3):
        assert registration.needs_password(core, token=link) is False
    assert activate(core, token=link).status == "active"
    with pytest.raises(InvalidLink):
        registration.needs_password(core, token=link)


def test_a_link_works_once(core: Core) -> None:
    link = pending(core)
    activate(core, token=link)
    with pytest.raises(InvalidLink):
        activate(core, token=link)


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 100_000, str(UUID(int=0)), "' OR 1=1 --", "\0"])
def test_an_unknown_link_is_refused(core: Core, token: str) -> None:
    pending(core)
    with pytest.raises(InvalidLink):
        activate(core, token=token, password=PASSWORD)


def test_a_link_that_is_almost_right_is_refused(core: Core) -> None:
    link = pending(core)
    for changed in (link[:-1], link + "=", link.swapcase(), " " + link):
        with pytest.raises(InvalidLink):
            activate(core, token=changed)


@pytest.mark.parametrize(("seconds_left", "works"), [(1, True), (0, False), (-1, False)])
def test_a18_a_link_works_until_its_last_second(
    core: Core, clock: MovedClock, seconds_left: int, works: bool
) -> None:
    link = pending(core)
    clock.move(hours=24, seconds=-seconds_left)
    if works:
        assert activate(core, token=link).status == "active"
    else:
        with pytest.raises(InvalidLink):
            activate(core, token=link)
        assert user_row(core).status == "pending"


def test_the_life_of_a_link_is_a_setting(make_core: Make, clock: MovedClock) -> None:
    core = make_core(registration__activation_hours=1)
    link = pending(core)
    clock.move(hours=1)
    with pytest.raises(InvalidLink):
        activate(core, token=link)


def test_an_expired_link_costs_no_hash(core: Core, clock: MovedClock) -> None:
    link = without_password(core)
    clock.move(days=2)
    with watching_hashes(core) as (watched, pool), pytest.raises(InvalidLink):
        activate(watched, token=link, password=PASSWORD)
    assert pool.jobs == 0


def test_a_link_of_an_account_that_was_deactivated_is_dead(core: Core) -> None:
    link = pending(core)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    with pytest.raises(InvalidLink):
        activate(core, token=link)
    with pytest.raises(InvalidLink):
        registration.needs_password(core, token=link)


def test_a19_a_link_of_another_purpose_activates_nothing(core: Core) -> None:
    link = pending(core)
    with core.write() as tx:
        # Links for resets are not made yet.
        tx.connection.exec_driver_sql("UPDATE link_tokens SET purpose = 'reset'")
    with pytest.raises(InvalidLink):
        activate(core, token=link)


# -- links of accounts without a password


def test_a_password_must_come_with_the_link_where_there_is_none(core: Core) -> None:
    link = without_password(core)
    assert registration.needs_password(core, token=link) is True
    with pytest.raises(PasswordRequired):
        activate(core, token=link)
    assert user_row(core).status == "pending"
    activate(core, token=link, password="orbit candle 58 fern")
    assert logged_in(core, password="orbit candle 58 fern").access_token
    for password in (PASSWORD, OTHER_PASSWORD):
        with pytest.raises(InvalidCredentials):
            logged_in(core, password=password)


@pytest.mark.parametrize("password", ["", "short", "passwordpassword", f"my {EMAIL} account"])
def test_a_weak_password_is_refused_before_it_is_hashed_and_the_link_stays(core: Core, password: str) -> None:
    link = without_password(core)
    with watching_hashes(core) as (watched, pool), pytest.raises(WeakPassword):
        activate(watched, token=link, password=password)
    assert pool.jobs == 0
    assert activate(core, token=link, password=PASSWORD).status == "active"


def test_a_password_beside_the_link_counts_for_nothing_where_there_is_one(core: Core) -> None:
    link = pending(core)
    with watching_hashes(core) as (watched, pool):
        activate(watched, token=link, password=OTHER_PASSWORD)
    assert pool.jobs == 0
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert logged_in(core).access_token


def test_a02_a_registration_between_reading_and_writing_takes_the_password_and_leaves_the_link(
    core: Core,
) -> None:
    link = pending(core)
    with before_next_write(core, "UPDATE users SET password_hash = NULL"), pytest.raises(PasswordRequired):
        activate(core, token=link)
    row = user_row(core)
    assert (row.status, row.password_hash, row.activated_at) == ("pending", None, None)
    assert audit_rows(core, "user.activated") == []
    assert activate(core, token=link, password=PASSWORD).status == "active"


def test_a_link_that_dies_between_reading_and_writing_activates_nothing(core: Core) -> None:
    link = pending(core)
    with (
        before_next_write(core, "UPDATE link_tokens SET revoked_at = created_at"),
        pytest.raises(InvalidLink),
    ):
        activate(core, token=link)
    assert user_row(core).status == "pending"


def test_a_username_lost_meanwhile_does_not_stop_an_activation(core: Core) -> None:
    link = pending(core, username="ada")
    active(core, "quicker@example.org", username="ada")
    account = activate(core, token=link)
    assert (account.status, account.username) == ("active", None)
    assert user_row(core, "quicker@example.org").username == "ada"
    assert len(audit_rows(core, "user.activated")) == 2


# -- at once


def test_a21_one_link_opened_in_parallel_activates_once(core: Core) -> None:
    link = pending(core)
    answers = together(*[partial(activate, core, token=link)] * 20)
    assert [answer.status for answer in answers if isinstance(answer, Account)] == ["active"]
    assert sum(isinstance(answer, InvalidLink) for answer in answers) == 19
    assert len(audit_rows(core, "user.activated")) == 1
    assert delivered(core) == []


def test_a21_of_several_passwords_at_once_the_winners_is_the_one_that_is_kept(make_core: Make) -> None:
    core = make_core(throttle__login_attempts=50)
    link = without_password(core)
    passwords = [f"orbit candle {number} fern" for number in range(11, 17)]
    visitors = [Actor("anonymous", ip=f"198.51.100.{number}") for number in range(6)]
    answers = together(
        *(
            partial(registration.activate, core, token=link, password=password, actor=visitor)
            for password, visitor in zip(passwords, visitors, strict=True)
        )
    )
    assert sum(isinstance(answer, InvalidLink) for answer in answers) == 5
    for password, answer in zip(passwords, answers, strict=True):
        if isinstance(answer, Account):
            assert logged_in(core, password=password).access_token
        else:
            with pytest.raises(InvalidCredentials):
                logged_in(core, password=password)


# -- what a link is


def test_a22_a_token_is_256_bits_of_text_and_never_the_same_twice(core: Core, clock: MovedClock) -> None:
    tokens = set()
    for _ in range(5):
        tokens.add(pending(core))
        clock.move(minutes=1)
    assert len(tokens) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.sqlite
def test_a22_a_token_depends_on_row_and_nonce(core: Core) -> None:
    tokens = {pending(core)}
    for change in ("nonce = zeroblob(16)", f"id = '{UUID(int=1).hex}'"):
        with core.write() as tx:
            tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            tx.connection.exec_driver_sql(f"UPDATE link_tokens SET {change}")
            tx.connection.exec_driver_sql(
                "UPDATE outbox SET link_token_id = (SELECT id FROM link_tokens), status = 'due'"
            )
        tokens |= set(map(token_in, delivered(core)))
    assert len(tokens) == 3


def test_a_link_names_the_public_url_and_when_it_ends(make_core: Make, clock: MovedClock) -> None:
    core = make_core(server__public_url="https://users.example.org/accounts/")
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    [message] = delivered(core)
    text = text_of(message)
    assert re.search(r"^https://users\.example\.org/accounts/activate\?token=[\w-]{43}$", text, re.MULTILINE)
    clock.move(hours=24)
    assert f"{clock.now():%Y-%m-%d %H:%M} UTC" in text
