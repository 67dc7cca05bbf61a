from collections.abc import Callable
from dataclasses import replace
from functools import partial
from uuid import uuid4

import bcrypt
import jwt
import pytest

from tests.conftest import LOWEST_COST, Make
from tests.database import before_next_write
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    logged_in,
    pending,
    rewrite_user,
    signed_in,
    user_row,
    watching_hashes,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    DomainError,
    Forbidden,
    InvalidCredentials,
    SessionEnded,
    UserNotFound,
)
from usersvc.security.passwords import hash_password
from usersvc.services import login, registration
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate
from usersvc.services.sessions import refresh

log_in = partial(login.log_in, actor=STRANGER)


def count_sessions(core: Core, condition: str = "true") -> int:
    with core.read() as tx:
        counted = tx.connection.exec_driver_sql(f"SELECT count(*) FROM sessions WHERE {condition}")
        return counted.scalar_one()


def _unknown(core: Core) -> None:
    active(core, "somebody.else@example.org")


def _wrong(core: Core) -> None:
    active(core, password=OTHER_PASSWORD)


def _pending(core: Core) -> None:
    pending(core)


def _invited(core: Core) -> None:
    pending(core)
    # Invitations are not written yet; this is the row that one leaves.
    rewrite_user(core, status="invited", invited_at=core.clock.now(), password_hash=None)


def _without_password(core: Core) -> None:
    active(core)
    rewrite_user(core, password_hash=None)  # as an import from elsewhere may leave it


def _deactivated_and_wrong(core: Core) -> None:
    active(core, password=OTHER_PASSWORD)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet


REFUSED = [_unknown, _wrong, _pending, _invited, _without_password, _deactivated_and_wrong]


def test_the_right_password_opens_a_session(core: Core, clock: MovedClock, stranger: Actor) -> None:
    account = active(core)
    clock.move(hours=1)
    pair = login.log_in(core, email=EMAIL, password=PASSWORD, actor=stranger)
    actor, shown = authenticate(core, access_token=pair.access_token, actor=stranger)
    assert (actor.kind, actor.user_id, shown.id) == ("user", account.id, account.id)
    assert (pair.expires_in, pair.refresh_expires_in) == (600, 14 * 86400)
    assert shown.last_login_at == clock.now()
    with core.read() as tx:
        assert actor.session_id
        found = tx.sessions.with_user(actor.session_id)
    assert found
    session = found[1]
    assert (session.ip, session.user_agent, session.seq) == ("192.0.2.1", "pytest", 1)
    assert session.created_at == session.last_used_at == session.rotated_at == clock.now()


@pytest.mark.parametrize("email", ["ADA@example.org", "ada@EXAMPLE.ORG"])
def test_the_case_of_the_address_does_not_matter(core: Core, email: str) -> None:
    active(core)
    assert log_in(core, email=email, password=PASSWORD).access_token


def test_an_address_of_a_special_domain_logs_in_where_those_are_allowed(make_core: Make) -> None:
    core = make_core(registration__special_domains=True)
    active(core, "ada@box.test")
    assert logged_in(core, "ada@box.test").access_token


def test_every_login_is_a_session_of_its_own(core: Core) -> None:
    active(core)
    first, second = logged_in(core), logged_in(core)
    actors = [authenticate(core, access_token=p.access_token, actor=STRANGER)[0] for p in (first, second)]
    assert actors[0].session_id != actors[1].session_id
    assert first.refresh_token != second.refresh_token


@pytest.mark.parametrize("meet", REFUSED, ids=lambda meet: meet.__name__.strip("_"))
def test_a10_who_cannot_log_in_gets_one_answer_for_one_hash(
    core: Core, stranger: Actor, meet: Callable[[Core], None]
) -> None:
    meet(core)
    with watching_hashes(core) as (watched, pool), pytest.raises(InvalidCredentials) as refused:
        login.log_in(watched, email=EMAIL, password=PASSWORD, actor=stranger)
    assert str(refused.value) == InvalidCredentials.message
    assert refused.value.retry_after is None
    assert pool.jobs == 1
    assert count_sessions(core) == 0


def test_a01_the_right_password_of_a_pending_account_opens_nothing(core: Core) -> None:
    pending(core)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    assert count_sessions(core) == 0
    assert user_row(core).last_login_at is None


@pytest.mark.parametrize("email", ["", "ada", "ada@localhost", "a@x.org, b@x.org", "\0", "x" * 100_000])
def test_a10_what_is_no_address_is_answered_like_an_unknown_one(core: Core, email: str) -> None:
    with watching_hashes(core) as (watched, pool), pytest.raises(InvalidCredentials):
        log_in(watched, email=email, password=PASSWORD)
    assert pool.jobs == 1


def test_a_deactivated_account_is_told_so_only_after_the_right_password(core: Core) -> None:
    active(core)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    with pytest.raises(InvalidCredentials):
        log_in(core, email=EMAIL, password=OTHER_PASSWORD)
    with pytest.raises(AccountDeactivated):
        log_in(core, email=EMAIL, password=PASSWORD)
    assert count_sessions(core) == 0


def test_tell_pending_tells_only_after_the_right_password(make_core: Make) -> None:
    core = make_core(registration__tell_pending=True)
    pending(core)
    with pytest.raises(AccountNotActivated):
        log_in(core, email=EMAIL, password=PASSWORD)
    with pytest.raises(InvalidCredentials):
        log_in(core, email=EMAIL, password=OTHER_PASSWORD)
    assert count_sessions(core) == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("password", ["x" * 1025, "x" * 1_000_000, "\U0001f600" * 257])
def test_a34_a_password_that_is_too_large_is_refused_without_hashing(
    core: Core, password: str, known: bool
) -> None:
    if known:
        active(core)
    with watching_hashes(core) as (watched, pool), pytest.raises(InvalidCredentials):
        log_in(watched, email=EMAIL, password=password)
    assert pool.jobs == 0


def test_a34_a_password_longer_than_the_policy_allows_today_still_logs_in(make_core: Make) -> None:
    core = make_core()
    long_password = "quilt zebra 41 lamp " * 10
    active(core, password=long_password)
    assert logged_in(make_core(passwords__max_length=64), password=long_password).access_token


@pytest.mark.parametrize(
    ("password", "others"),
    [
        ("zebra quilt lamp " * 5 + "x", ["zebra quilt lamp " * 5 + "y", "zebra quilt lamp " * 5]),
        ("  zebra quilt 41 ", ["zebra quilt 41", "  zebra quilt 41"]),
        ("Zebra quilt 41 lamp", ["zebra quilt 41 lamp"]),
    ],
    ids=["beyond 72 bytes", "blanks", "case"],
)
def test_a34_only_exactly_the_password_logs_in(core: Core, password: str, others: list[str]) -> None:
    active(core, password=password)
    for other in others:
        with pytest.raises(InvalidCredentials):
            logged_in(core, password=other)
    assert logged_in(core, password=password).access_token


def test_a35_both_unicode_forms_of_a_password_log_in(core: Core) -> None:
    active(core, password="cafe\u0301 quilt 41 lamp")
    assert logged_in(core, password="caf\u00e9 quilt 41 lamp").access_token
    assert logged_in(core, password="cafe\u0301 quilt 41 lamp").access_token


# -- rehashing


def test_a38_a_login_rehashes_what_has_another_cost(make_core: Make) -> None:
    active(make_core())
    core = make_core(passwords__bcrypt_cost=11)
    before = user_row(core)
    assert logged_in(core).access_token
    row = user_row(core)
    assert row.password_hash
    assert row.password_hash.startswith("usersvc1$2b$11$")
    assert row.password_changed_at == before.password_changed_at
    with watching_hashes(core) as (watched, pool):
        assert logged_in(watched).access_token
    assert pool.jobs == 1
    assert user_row(core).password_hash == row.password_hash


def test_a38_to_rehash_takes_the_turn_and_the_share_of_who_logs_in(make_core: Make) -> None:
    core = make_core()
    active(core)
    logged_in(core)  # so this network is known
    with watching_hashes(make_core(passwords__bcrypt_cost=11)) as (watched, pool):
        assert logged_in(watched).access_token
    assert pool.turns == ["first", "first"]
    assert pool.clients == [STRANGER.network, STRANGER.network]


def test_a38_a_failed_login_rehashes_nothing(make_core: Make) -> None:
    active(make_core())
    core = make_core(passwords__bcrypt_cost=11)
    before = user_row(core)
    with watching_hashes(core) as (watched, pool), pytest.raises(InvalidCredentials):
        logged_in(watched, password=OTHER_PASSWORD)
    assert pool.jobs == 1
    assert user_row(core) == before


def test_a38_a_deactivated_account_is_not_rehashed(make_core: Make) -> None:
    core = make_core()
    active(core)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    before = user_row(core)
    with pytest.raises(AccountDeactivated):
        logged_in(make_core(passwords__bcrypt_cost=11))
    assert user_row(core) == before


def test_a38_a_plain_bcrypt_hash_from_elsewhere_logs_in_and_is_rehashed(core: Core) -> None:
    active(core)
    elsewhere = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    rewrite_user(core, password_hash=elsewhere)  # as an import leaves it
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert user_row(core).password_hash == elsewhere
    assert logged_in(core).access_token
    assert str(user_row(core).password_hash).startswith(f"usersvc1$2b${LOWEST_COST:02}$")
    assert logged_in(core).access_token


def test_a34_a_plain_bcrypt_hash_of_a_long_password_logs_in(core: Core) -> None:
    active(core)
    long_password = "quilt zebra 41 lamp " * 5
    elsewhere = bcrypt.hashpw(long_password.encode()[:72], bcrypt.gensalt(10)).decode()
    rewrite_user(core, password_hash=elsewhere)  # as an import leaves it
    assert logged_in(core, password=long_password).access_token


@pytest.mark.parametrize("stored", ["", "!", "md5$abc", "usersvc1", "usersvc9$2b$10$" + "a" * 53])
def test_a_hash_of_an_unknown_form_is_a_wrong_password(core: Core, stored: str) -> None:
    active(core)
    rewrite_user(core, password_hash=stored)  # as a failed import leaves it
    with pytest.raises(InvalidCredentials):
        logged_in(core)


# -- between verifying and using


def test_a17b_a_password_changed_after_it_was_verified_opens_nothing(core: Core, stranger: Actor) -> None:
    active(core)
    new_hash = hash_password(OTHER_PASSWORD, cost=10)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: rewrite_user(core, password_hash=new_hash)
        with pytest.raises(InvalidCredentials):
            login.log_in(watched, email=EMAIL, password=PASSWORD, actor=stranger)
    assert count_sessions(core) == 0
    assert user_row(core).password_hash == new_hash
    [entry] = audit_rows(core, "user.login_failed")
    assert (entry.target_id, entry.outcome) == (user_row(core).id, "INVALID_CREDENTIALS")


def test_a17b_a_rehash_does_not_bring_an_old_password_back(make_core: Make) -> None:
    active(make_core())
    core = make_core(passwords__bcrypt_cost=11)
    new_hash = hash_password(OTHER_PASSWORD, cost=10)
    with (
        before_next_write(core, "UPDATE users SET password_hash = :new", new=new_hash),
        pytest.raises(InvalidCredentials),
    ):
        logged_in(core)
    assert user_row(core).password_hash == new_hash


def test_a30_an_account_deactivated_after_its_password_was_verified_opens_nothing(core: Core) -> None:
    active(core)
    with (
        before_next_write(core, "UPDATE users SET status = 'deactivated'"),
        pytest.raises((InvalidCredentials, AccountDeactivated)),
    ):
        logged_in(core)
    assert count_sessions(core) == 0


def test_a55_a_role_changed_after_the_password_was_verified_is_the_one_in_the_token(core: Core) -> None:
    active(core)
    rewrite_user(core, role="moderator")  # changing roles is not written yet
    with before_next_write(core, "UPDATE users SET role = 'user'"):
        pair = logged_in(core)
    claims = jwt.decode(pair.access_token, options={"verify_signature": False})
    assert (claims["role"], claims["permissions"]) == ("user", [])


# -- a locked login


def _failed(core: Core, times: int) -> None:
    """So many failures, each from another network."""
    for number in range(times):
        with pytest.raises(InvalidCredentials):
            login.log_in(
                core, email=EMAIL, password=OTHER_PASSWORD, actor=replace(STRANGER, ip=f"203.0.113.{number}")
            )


def test_a41_administrators_see_that_a_login_is_locked_and_open_it(make_core: Make) -> None:
    core = make_core(throttle__account_login_attempts=10)
    account = active(core)
    root = signed_in(core, an_admin(core).email)
    _failed(core, 9)
    assert login.is_locked(core, user_id=account.id, actor=root) is False
    assert login.unlock(core, user_id=account.id, actor=root) is False
    _failed(core, 1)
    assert login.is_locked(core, user_id=account.id, actor=root) is True
    assert login.unlock(core, user_id=account.id, actor=root) is True
    assert login.is_locked(core, user_id=account.id, actor=root) is False
    [entry] = audit_rows(core, "user.login_unlocked")
    assert (entry.actor_id, entry.target_id, entry.outcome) == (root.user_id, account.id, "ok")
    assert entry.detail == {"was_locked": True}
    assert logged_in(core).access_token


def test_a41_nobody_else_sees_whether_a_login_is_locked_or_opens_it(core: Core) -> None:
    account, root = active(core), signed_in(core, an_admin(core).email)
    for act in (login.is_locked, login.unlock):
        for actor in (STRANGER, signed_in(core, account.email)):
            with pytest.raises(Forbidden):
                act(core, user_id=account.id, actor=actor)
        with pytest.raises(UserNotFound):
            act(core, user_id=uuid4(), actor=root)


def test_a_login_is_not_locked_where_limits_are_off(make_core: Make) -> None:
    account = active(make_core())
    _failed(make_core(throttle__account_login_attempts=10), 10)
    core = make_core(throttle__enabled=False, throttle__account_login_attempts=10)
    assert login.is_locked(core, user_id=account.id, actor=OPERATOR) is False
    assert logged_in(core).access_token


# -- audit


def test_a68_a_login_is_one_audit_entry(core: Core, stranger: Actor) -> None:
    account = active(core)
    pair = login.log_in(core, email=EMAIL, password=PASSWORD, actor=stranger)
    [entry] = audit_rows(core, "user.logged_in")
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("user", account.id, account.id)
    assert (entry.ip, entry.request_id, entry.outcome) == ("192.0.2.1", "test-request", "ok")
    assert entry.at == core.clock.now()
    assert pair.refresh_token not in str(entry.detail)
    assert audit_rows(core, "user.login_failed") == []


@pytest.mark.parametrize("meet", REFUSED, ids=lambda meet: meet.__name__.strip("_"))
def test_a68_a_failed_login_is_one_audit_entry(
    core: Core, stranger: Actor, meet: Callable[[Core], None]
) -> None:
    meet(core)
    with pytest.raises(InvalidCredentials):
        login.log_in(core, email=EMAIL, password=PASSWORD, actor=stranger)
    [entry] = audit_rows(core, "user.login_failed")
    assert entry.target_id == (None if meet is _unknown else user_row(core).id)
    assert (entry.actor_kind, entry.ip, entry.request_id) == ("anonymous", "192.0.2.1", "test-request")
    assert entry.outcome == "INVALID_CREDENTIALS"
    assert EMAIL not in str(entry)
    assert PASSWORD not in str(entry)


@pytest.mark.parametrize(
    ("status", "error"), [("deactivated", AccountDeactivated), ("pending", AccountNotActivated)]
)
def test_a68_the_audit_names_why_a_right_password_was_refused(
    make_core: Make, status: str, error: type[DomainError]
) -> None:
    core = make_core(registration__tell_pending=True)
    active(core)
    rewrite_user(core, status=status)  # deactivating is not written yet
    with pytest.raises(error):
        logged_in(core)
    assert [entry.outcome for entry in audit_rows(core, "user.login_failed")] == [error.code]


# -- how many sessions


def test_one_session_too_many_ends_the_least_recently_used(make_core: Make, clock: MovedClock) -> None:
    core = make_core(sessions__max_per_user=3)
    active(core)
    other = active(core, "grace@example.org")
    others_session = logged_in(core, "grace@example.org")
    pairs = []
    for _ in range(3):
        clock.move(minutes=1)
        pairs.append(logged_in(core))
    clock.move(minutes=1)
    pairs[0] = refresh(core, refresh_token=pairs[0].refresh_token, actor=STRANGER)
    clock.move(minutes=1)
    newest = logged_in(core)
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=pairs[1].access_token, actor=STRANGER)
    for pair in (pairs[0], pairs[2], newest):
        assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    shown = authenticate(core, access_token=others_session.access_token, actor=STRANGER)[1]
    assert shown.id == other.id
    assert count_sessions(core, "end_reason = 'too many sessions'") == 1


def test_twenty_sessions_live_at_once_unless_set_otherwise(make_core: Make) -> None:
    core = make_core()
    active(core)
    first = logged_in(core)
    core.clock.move(seconds=1)
    with core.write() as tx:
        # Eighteen more devices, without eighteen hashes.
        actor = authenticate(core, access_token=first.access_token, actor=STRANGER)[0]
        assert actor.session_id
        found = tx.sessions.with_user(actor.session_id)
        assert found
        for number in range(18):
            tx.sessions.insert(replace(found[1], id=type(actor.session_id)(int=number), last_used_at=tx.now))
    logged_in(core)
    assert count_sessions(core, "ended_at IS NULL") == 20
    logged_in(core)
    assert count_sessions(core, "ended_at IS NULL") == 20
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=first.access_token, actor=STRANGER)


def test_with_one_session_allowed_the_newest_wins(make_core: Make) -> None:
    core = make_core(sessions__max_per_user=1)
    active(core)
    first, second = logged_in(core), logged_in(core)
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=first.access_token, actor=STRANGER)
    assert authenticate(core, access_token=second.access_token, actor=STRANGER)


def test_a_long_device_name_is_cut(core: Core) -> None:
    active(core)
    login.log_in(core, email=EMAIL, password=PASSWORD, actor=Actor("anonymous", user_agent="x" * 5000))
    assert count_sessions(core, "length(user_agent) = 256") == 1


def test_registering_again_ends_no_session_of_an_active_account(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
