"""Passwords forgotten, reset and changed."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError

from tests.database import refusing
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
    outbox_rows,
    pending,
    text_of,
    token_in,
    user_row,
    watching_hashes,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    SessionEnded,
    TokenExpired,
    WeakPassword,
    WrongPassword,
)
from usersvc.services import login, maintenance, passwords, registration, sessions
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

THIRD_PASSWORD = "marble 92 otter fog"


def _forgotten(core: Core, email: str = EMAIL) -> str:
    """The token that a forgotten password is reset with."""
    passwords.forgot(core, email=email, actor=STRANGER)
    [mail] = delivered(core)
    return token_in(mail)


def _actor(core: Core, access_token: str) -> Actor:
    return authenticate(core, access_token=access_token, actor=STRANGER)[0]


def test_a_forgotten_password_is_reset_with_the_mailed_link(core: Core) -> None:
    account = active(core)
    passwords.reset(core, token=_forgotten(core), new_password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    assert logged_in(core, password=OTHER_PASSWORD)
    [told] = delivered(core)
    assert "was changed" in told["Subject"]
    assert told["To"].addresses[0].addr_spec == EMAIL
    [entry] = audit_rows(core, "password.reset")
    assert (entry.target_id, entry.ip, entry.outcome) == (account.id, STRANGER.ip, "ok")


def test_a11_forgetting_writes_the_same_row_for_everybody(core: Core) -> None:
    active(core)
    delivered(core)
    for email in (EMAIL, "nobody@example.org"):
        passwords.forgot(core, email=email, actor=STRANGER)
    kinds = [(row.kind, row.address, row.user_id) for row in outbox_rows(core)][-2:]
    assert kinds == [("forgot_password", EMAIL, None), ("forgot_password", "nobody@example.org", None)]
    assert len(delivered(core)) == 1
    with pytest.raises(InvalidEmail):
        passwords.forgot(core, email="no address", actor=STRANGER)


@pytest.mark.parametrize(
    ("status", "subject"),
    [
        ("active", "Reset your password"),
        ("pending", "Activate"),
        ("deactivated", None),
        ("invited", "You are invited"),
    ],
)
def test_what_forgetting_mails_depends_on_the_account(
    core: Core, clock: MovedClock, status: str, subject: str | None
) -> None:
    make = {"pending": pending, "invited": invited, "active": active, "deactivated": deactivated}[status]
    make(core)
    clock.move(minutes=2)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    subjects = [mail["Subject"] for mail in delivered(core)]
    assert len(subjects) == (subject is not None)
    assert all(found.startswith(subject or "") for found in subjects)


def test_a06_the_mail_goes_to_the_stored_address(core: Core) -> None:
    active(core, "Ada@example.org")
    passwords.forgot(core, email="aDA@EXAMPLE.ORG", actor=STRANGER)
    [mail] = delivered(core)
    assert mail["To"].addresses[0].addr_spec == "Ada@example.org"


def test_a25_a_reset_ends_every_session_and_every_other_link(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    token = _forgotten(core)
    passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(SessionEnded):
        _actor(core, pair.access_token)
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=token, new_password=THIRD_PASSWORD, actor=STRANGER)


def test_a18_a_reset_link_dies_on_the_second(core: Core, clock: MovedClock) -> None:
    active(core)
    token = _forgotten(core)
    clock.move(minutes=30)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
    clock.move(seconds=-1)
    passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


def test_asking_again_mails_the_same_link_with_its_first_expiry(core: Core, clock: MovedClock) -> None:
    active(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [first] = delivered(core)
    clock.move(minutes=20)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [second] = delivered(core)
    assert text_of(first) == text_of(second)
    clock.move(minutes=10)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [third] = delivered(core)
    assert token_in(third) != token_in(first)


def test_within_the_pause_nothing_more_is_mailed(core: Core, clock: MovedClock) -> None:
    active(core)
    for _ in range(3):
        passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert len(delivered(core)) == 1
    clock.move(seconds=61)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert len(delivered(core)) == 1


def test_a_bad_link_costs_no_bcrypt_and_a_weak_password_costs_no_link(core: Core) -> None:
    active(core)
    token = _forgotten(core)
    with watching_hashes(core) as (watched, pool):
        with pytest.raises(InvalidLink):
            passwords.reset(watched, token="A" * 43, new_password=OTHER_PASSWORD, actor=STRANGER)
        for weak in ("short", "password1234", EMAIL, "x" * 2000):
            with pytest.raises(WeakPassword):
                passwords.reset(watched, token=token, new_password=weak, actor=STRANGER)
        assert pool.jobs == 0
        passwords.reset(watched, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
        assert pool.jobs == 1


def test_a19_links_work_for_their_purpose_alone(core: Core) -> None:
    activation = pending(core)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=activation, new_password=OTHER_PASSWORD, actor=STRANGER)
    registration.activate(core, token=activation, actor=STRANGER)
    reset = _forgotten(core)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=reset, actor=STRANGER)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=logged_in(core).access_token, new_password=OTHER_PASSWORD, actor=STRANGER)


def test_a17_of_twenty_resets_at_once_one_wins_and_its_password_is_the_one(core: Core) -> None:
    active(core)
    token = _forgotten(core)

    def reset(number: int) -> str | None:
        password = f"{OTHER_PASSWORD} {number}"
        client = Actor("anonymous", ip=f"198.51.100.{number}")
        while True:
            try:
                passwords.reset(core, token=token, new_password=password, actor=client)
                return password
            except InvalidLink:
                return None
            except Exception as error:
                if getattr(error, "code", "") != "OVERLOADED":
                    raise

    with ThreadPoolExecutor(20) as pool:
        winners = [found for found in pool.map(reset, range(20)) if found]
    assert len(winners) == 1
    assert logged_in(core, password=winners[0])


def test_who_asks_again_and_again_leaves_the_last_mail_of_the_hour_to_a_fresh_link(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    mailed = [_asked_after(core, clock, minutes=2) for _ in range(10)]
    [spent] = set(filter(None, mailed))
    assert [bool(token) for token in mailed] == [True] * 4 + [False] * 6
    clock.move(minutes=12)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=spent, new_password=OTHER_PASSWORD, actor=STRANGER)
    fresh = _asked_after(core, clock, minutes=2)
    assert fresh
    assert _asked_after(core, clock, minutes=2) is None
    passwords.reset(core, token=fresh, new_password=OTHER_PASSWORD, actor=STRANGER)


def test_an_only_mail_an_hour_is_for_a_link_that_was_mailed_before_too(make_core, clock: MovedClock) -> None:
    core = make_core(throttle__mails_per_hour=1, registration__reset_minutes=1440)
    active(core)
    first = _asked_after(core, clock, minutes=0)
    assert _asked_after(core, clock, minutes=2) is None
    clock.move(minutes=60)
    maintenance.purge(core, actor=OPERATOR)
    assert _asked_after(core, clock, minutes=0) == first


def _asked_after(core: Core, clock: MovedClock, *, minutes: int) -> str | None:
    """The token that comes by mail, if one does, when somebody asks for a reset link then."""
    clock.move(minutes=minutes)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    mails = delivered(core)
    return token_in(mails[0]) if mails else None


def test_a_reset_verifies_the_address_it_was_mailed_to(make_core) -> None:
    core = make_core(registration__activation=False)
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    assert user_row(core).email_verified_at is None
    passwords.reset(core, token=_forgotten(core), new_password=OTHER_PASSWORD, actor=STRANGER)
    assert user_row(core).email_verified_at is not None


def test_a17b_a_login_that_verified_the_old_password_gets_no_session_after_a_reset(core: Core) -> None:
    active(core)
    token = _forgotten(core)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = partial(
            passwords.reset, core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER
        )
        with pytest.raises(InvalidCredentials):
            login.log_in(watched, email=EMAIL, password=PASSWORD, actor=STRANGER)
    assert logged_in(core, password=OTHER_PASSWORD)


def test_changing_a_password_needs_the_current_one_and_replaces_every_session(core: Core) -> None:
    active(core)
    mine, other = logged_in(core), logged_in(core)
    actor = _actor(core, mine.access_token)
    pair = passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=actor)
    for old in (mine, other):
        with pytest.raises(SessionEnded):
            _actor(core, old.access_token)
    assert _actor(core, pair.access_token).user_id == actor.user_id
    assert sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    assert logged_in(core, password=OTHER_PASSWORD)
    assert "was changed" in delivered(core)[0]["Subject"]
    [entry] = audit_rows(core, "password.changed")
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("user", actor.user_id, actor.user_id)


def test_a32_a_stolen_token_alone_changes_no_password(core: Core) -> None:
    active(core)
    actor = _actor(core, logged_in(core).access_token)
    for wrong in (OTHER_PASSWORD, "", "x" * 5000):
        with pytest.raises(WrongPassword):
            passwords.change(core, current_password=wrong, new_password=THIRD_PASSWORD, actor=actor)
    failures = audit_rows(core, "password.change_failed")
    assert [entry.outcome for entry in failures] == ["WRONG_PASSWORD"] * 3
    assert logged_in(core)


def test_a_weak_new_password_changes_nothing(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    actor = _actor(core, pair.access_token)
    with pytest.raises(WeakPassword):
        passwords.change(core, current_password=PASSWORD, new_password="short", actor=actor)
    assert _actor(core, pair.access_token)
    assert logged_in(core)


def test_a17b_of_a_change_and_a_reset_at_once_one_counts(core: Core) -> None:
    active(core)
    token = _forgotten(core)
    actor = _actor(core, logged_in(core).access_token)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = partial(
            passwords.reset, core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER
        )
        with pytest.raises(InvalidCredentials, match=r"The password was changed meanwhile; log in again\."):
            passwords.change(watched, current_password=PASSWORD, new_password=THIRD_PASSWORD, actor=actor)
    assert logged_in(core, password=OTHER_PASSWORD)


def test_without_an_account_there_is_nothing_to_change(core: Core) -> None:
    with pytest.raises(SessionEnded):
        passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=STRANGER)


def test_a_reset_whose_transaction_fails_can_be_repeated(core: Core) -> None:
    active(core)
    token = _forgotten(core)
    with refusing(core, "INSERT", "outbox"), pytest.raises(DBAPIError, match="no"):
        passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
    assert logged_in(core)
    passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


def test_the_reset_link_can_point_elsewhere(make_core) -> None:
    core = make_core(mail__reset_link="https://app.example.org/reset#{token}")
    active(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert "https://app.example.org/reset#" in text_of(delivered(core)[0])


def test_the_new_tokens_live_as_long_as_those_of_a_login(core: Core, clock: MovedClock) -> None:
    active(core)
    actor = _actor(core, logged_in(core).access_token)
    pair = passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=actor)
    clock.move(minutes=10, seconds=31)
    with pytest.raises(TokenExpired):
        _actor(core, pair.access_token)
