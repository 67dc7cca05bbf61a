"""Failed logins: how many, from where, for how long, and who still gets in."""

import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.conftest import Make
from tests.database import before_next_write
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    WatchedPool,
    active,
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
from usersvc.clock import MovedClock, rfc_3339
from usersvc.core import Core
from usersvc.errors import (
    AccountDeactivated,
    DatabaseBusy,
    DomainError,
    Forbidden,
    InvalidCredentials,
    LoginLocked,
    Overloaded,
    SessionEnded,
    TooManyAttempts,
    WeakPassword,
    WrongPassword,
)
from usersvc.security.hashing_pool import HashingPool
from usersvc.services import login, passwords, registration, sessions
from usersvc.services.actor import Actor

OWNER = replace(STRANGER, ip="198.51.100.7")
WRONG = "wrong password 123"


def attempt(core: Core, *, email: str = EMAIL, password: str = WRONG, ip: str = "192.0.2.1") -> object:
    """What a login gives, or the error that it raises."""
    try:
        return login.log_in(core, email=email, password=password, actor=replace(STRANGER, ip=ip))
    except DomainError as error:
        return error


def codes(core: Core, times: int, **more: str) -> list[str]:
    return [getattr(attempt(core, **more), "code", "in") for _ in range(times)]


def refused_for(core: Core, **more: str) -> int:
    """For how many seconds."""
    error = attempt(core, **more)
    assert isinstance(error, TooManyAttempts)
    assert error.retry_after
    return error.retry_after


@pytest.mark.parametrize("make", [active, pending, invited, deactivated, lambda _: None])
def test_a15_the_limit_is_the_same_whoever_stands_under_the_address(
    core: Core, make: Callable[[Core], object]
) -> None:
    make(core)
    assert codes(core, 7) == ["INVALID_CREDENTIALS"] * 5 + ["TOO_MANY_ATTEMPTS"] * 2


def test_a40_the_retry_after_is_truthful_and_doubles(core: Core, clock: MovedClock) -> None:
    active(core)
    assert codes(core, 5) == ["INVALID_CREDENTIALS"] * 5
    for seconds in (60, 120, 240, 480, 900, 900):
        assert refused_for(core) == seconds
        clock.move(seconds=seconds - 1)
        assert refused_for(core) == 1
        clock.move(seconds=1)
        assert codes(core, 1) == ["INVALID_CREDENTIALS"]


def test_a41_a_stranger_who_hammers_does_not_keep_the_owner_out(core: Core) -> None:
    active(core)
    codes(core, 20)
    assert refused_for(core, password=PASSWORD) == 60
    assert login.log_in(core, email=EMAIL, password=PASSWORD, actor=OWNER).access_token


def test_the_right_password_begins_the_count_anew_and_gives_back_its_own_unit(core: Core) -> None:
    active(core)
    for _ in range(7):
        assert codes(core, 4) == ["INVALID_CREDENTIALS"] * 4
        assert codes(core, 1, password=PASSWORD) == ["in"]
    # 28 failures of this network are left: two more, then it is full, whatever the address.
    assert codes(core, 3, email="other@example.org") == ["INVALID_CREDENTIALS"] * 2 + ["TOO_MANY_ATTEMPTS"]


def test_a44_one_failure_at_each_of_many_addresses_fills_the_network(core: Core, clock: MovedClock) -> None:
    found = [codes(core, 1, email=f"u{number}@example.org")[0] for number in range(32)]
    assert found == ["INVALID_CREDENTIALS"] * 30 + ["TOO_MANY_ATTEMPTS"] * 2
    assert refused_for(core) == 300
    clock.move(minutes=5)
    assert codes(core, 1) == ["INVALID_CREDENTIALS"]


def _containers() -> dict[int, tuple[Any, int]]:
    """Everything in the process that can grow, by its id, and how large it is."""
    gc.collect()
    kinds = (dict, list, set, deque)
    return {id(each): (each, len(each)) for each in gc.get_objects() if isinstance(each, kinds)}


@pytest.mark.sqlite
def test_a44_made_up_addresses_and_clients_leave_nothing_in_the_memory(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """What is counted is rows: nothing that was there before holds more for each of them."""
    caplog.set_level("CRITICAL")

    def come(numbers: range) -> None:
        for number in numbers:
            client = replace(STRANGER, ip=f"198.18.{number}.1")
            email = f"u{number}@example.org"
            assert isinstance(attempt(core, email=email, ip=f"198.18.{number}.1"), InvalidCredentials)
            registration.resend_activation(core, email=email, actor=client)
            passwords.forgot(core, email=email, actor=client)

    come(range(10))
    before = _containers()
    come(range(10, 70))
    # sqlite3 itself keeps as many as 200 dead references to its cursors.
    assert [
        each
        for each, size in before.values()
        if len(each) >= size + 30 and not all(isinstance(item, weakref.ref) for item in each)
    ] == []


@pytest.mark.parametrize(
    ("ips", "shares"),
    [
        (["2001:db8::1", "2001:DB8:0:0::2", "2001:0db8:0000:0000:ffff::3"], True),
        (["192.0.2.9", "::ffff:192.0.2.9", "::FFFF:C000:0209"], True),
        (["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"], False),
    ],
)
def test_a43_forms_of_one_network_share_a_count(core: Core, ips: list[str], shares: bool) -> None:
    for number in range(5):
        codes(core, 1, ip=ips[number % len(ips)])
    assert codes(core, 1, ip=ips[0]) == ["TOO_MANY_ATTEMPTS" if shares else "INVALID_CREDENTIALS"]


def test_a43_a_whole_48_has_ten_times_the_limit_of_a_network(make_core: Make) -> None:
    core = make_core(throttle__network_login_attempts=2)
    found = [
        codes(core, 1, email=f"u{number}@example.org", ip=f"2001:db8:0:{number:x}::1")[0]
        for number in range(21)
    ]
    assert found == ["INVALID_CREDENTIALS"] * 20 + ["TOO_MANY_ATTEMPTS"]
    [paused] = audit_rows(core, "user.login_paused")
    assert paused.detail["what"] == "login wider"


@pytest.mark.parametrize("spelling", ["ADA@example.org", "ada@EXAMPLE.ORG"])
def test_a44_spellings_of_one_address_share_a_count(core: Core, spelling: str) -> None:
    codes(core, 5)
    assert codes(core, 1, email=spelling) == ["TOO_MANY_ATTEMPTS"]


def test_a42_of_many_at_once_five_are_verified_and_the_right_one_late_is_not(make_core: Make) -> None:
    cores = [make_core(), make_core()]
    active(cores[0])
    codes(cores[0], 5)
    with watching_hashes(cores[1]) as (watched, pool):
        found = together(*(partial(attempt, watched, password=PASSWORD) for _ in range(40)))
    assert pool.jobs == 0
    assert {getattr(answer, "code", "in") for answer in found} == {"TOO_MANY_ATTEMPTS"}


def test_a42_parallel_guesses_on_two_cores_verify_five_and_no_more(make_core: Make) -> None:
    active(make_core())
    with watching_hashes(make_core()) as (one, first), watching_hashes(make_core()) as (two, second):
        jobs = [partial(attempt, core) for core in (one, two) for _ in range(20)]
        found = [getattr(answer, "code", "in") for answer in together(*jobs)]
    assert first.jobs + second.jobs <= 5 + found.count("OVERLOADED")
    assert found.count("INVALID_CREDENTIALS") <= 5


def test_an_attempt_that_was_not_verified_is_given_back(make_core: Make) -> None:
    core = make_core(throttle__account_login_attempts=10)
    active(core)
    with watching_hashes(core) as (watched, pool):
        full = WatchedPool()
        full.close()
        watched.hasher._pool = full
        for _ in range(40):
            assert isinstance(attempt(watched, password=PASSWORD), Overloaded)
        watched.hasher._pool = pool
        assert codes(watched, 6) == ["INVALID_CREDENTIALS"] * 5 + ["TOO_MANY_ATTEMPTS"]


def test_a42b_a_failed_login_is_counted_and_one_that_is_refused_writes_nothing(core: Core) -> None:
    account = active(core)
    codes(core, 5)
    with core.read() as tx:
        before = tx.connection.exec_driver_sql("SELECT * FROM throttle ORDER BY 1, 2").all()
    codes(core, 5)
    with core.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT * FROM throttle ORDER BY 1, 2").all() == before
    failed = audit_rows(core, "user.login_failed")
    assert [(entry.target_id, entry.outcome) for entry in failed] == [(account.id, "INVALID_CREDENTIALS")] * 5
    [paused] = audit_rows(core, "user.login_paused")
    assert (paused.target_id, paused.outcome) == (account.id, "INVALID_CREDENTIALS")
    assert paused.detail == {"what": "login", "until": rfc_3339(paused.at + timedelta(minutes=1))}
    assert paused.detail["until"].endswith("Z")


def test_a42b_who_is_refused_takes_no_turn_to_write(strict: Core, clock: MovedClock) -> None:
    active(strict)
    codes(strict, 5)
    _hammered(strict, clock, 5)
    write = strict.write
    with strict.database.writing():
        strict.write = lambda **_: write(wait=0.01)  # type: ignore[method-assign]
        assert codes(strict, 1) == ["TOO_MANY_ATTEMPTS"]
        assert codes(strict, 1, ip="192.0.2.77") == ["LOGIN_LOCKED"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE throttle SET count = 30 WHERE kind = 'login network'", "TOO_MANY_ATTEMPTS"),
        ("UPDATE throttle SET count = 100 WHERE kind = 'login account'", "LOGIN_LOCKED"),
    ],
)
def test_a42_a_limit_that_was_reached_in_this_moment_holds(core: Core, change: str, code: str) -> None:
    active(core)
    codes(core, 1)
    with watching_hashes(core) as (watched, pool), before_next_write(core, change):
        assert codes(watched, 1, password=PASSWORD) == [code]
    assert pool.jobs == 0


@pytest.mark.sqlite
def test_where_the_count_cannot_be_written_nobody_gets_in(
    core: Core,
) -> None:
    active(core)
    write = core.write
    with core.database.writing():
        core.write = lambda **_: write(wait=0.05)  # type: ignore[method-assign]
        assert isinstance(attempt(core, password=PASSWORD), DatabaseBusy)


# -- locked


def _hammered(core: Core, clock: MovedClock, failures: int) -> None:
    """So many failures in a row, each from another network."""
    for number in range(failures):
        codes(core, 1, ip=f"203.0.{number // 250}.{number % 250}")


@pytest.fixture
def strict(make_core: Make) -> Core:
    return make_core(throttle__account_login_attempts=10)


def test_a_locked_login_is_open_to_networks_it_was_used_from(strict: Core, clock: MovedClock) -> None:
    active(strict)
    login.log_in(strict, email=EMAIL, password=PASSWORD, actor=OWNER)
    _hammered(strict, clock, 10)
    error = attempt(strict, password=PASSWORD, ip="192.0.2.77")
    assert isinstance(error, LoginLocked)
    assert error.retry_after is None
    assert audit_rows(strict, "user.login_unlocked") == []
    assert login.log_in(strict, email=EMAIL, password=PASSWORD, actor=OWNER).access_token
    [unlocked] = audit_rows(strict, "user.login_unlocked")
    assert (unlocked.target_id, unlocked.ip) == (user_row(strict).id, OWNER.ip)
    assert unlocked.detail == {"was_locked": True}
    assert logged_in(strict).access_token


def test_one_mail_a_lock_and_none_to_who_is_not_active(strict: Core, clock: MovedClock) -> None:
    account = active(strict)
    _hammered(strict, clock, 15)
    _hammered(strict, clock, 15)
    assert outbox_rows(strict)[-1].user_id == account.id
    assert [mail["Subject"].split(" to ")[0] for mail in delivered(strict)] == ["Logging in"]
    [locked] = audit_rows(strict, "user.login_locked")
    assert (locked.target_id, locked.outcome) == (account.id, "INVALID_CREDENTIALS")
    assert locked.detail == {"failures": 10}
    pending(strict, "bob@example.org")
    for number in range(10):
        codes(strict, 1, email="bob@example.org", ip=f"203.0.113.{number}")
    assert isinstance(attempt(strict, email="bob@example.org"), LoginLocked)
    assert delivered(strict) == []


@pytest.mark.parametrize(
    ("passed", "code"),
    [
        (timedelta(days=30) - timedelta(seconds=1), "LOGIN_LOCKED"),
        (timedelta(days=30), "INVALID_CREDENTIALS"),
    ],
)
def test_failures_in_a_row_are_forgotten_after_30_days(
    strict: Core, clock: MovedClock, passed: timedelta, code: str
) -> None:
    active(strict)
    _hammered(strict, clock, 9)
    clock.move(seconds=passed.total_seconds())
    codes(strict, 1, ip="192.0.2.70")
    assert codes(strict, 1, ip="192.0.2.77") == [code]


def test_an_unknown_address_is_locked_the_same_and_nobody_is_mailed(strict: Core, clock: MovedClock) -> None:
    _hammered(strict, clock, 10)
    assert isinstance(attempt(strict, ip="192.0.2.77"), LoginLocked)
    assert delivered(strict) == []


def test_a_known_network_is_forgotten_after_its_days(strict: Core, clock: MovedClock) -> None:
    active(strict)
    login.log_in(strict, email=EMAIL, password=PASSWORD, actor=OWNER)
    clock.move(days=31)
    _hammered(strict, clock, 10)
    assert isinstance(attempt(strict, password=PASSWORD, ip="198.51.100.7"), LoginLocked)


def test_a41_a_reset_by_mail_opens_a_locked_login(strict: Core, clock: MovedClock) -> None:
    active(strict)
    _hammered(strict, clock, 10)
    delivered(strict)
    passwords.forgot(strict, email=EMAIL, actor=STRANGER)
    [mail] = delivered(strict)
    passwords.reset(strict, token=token_in(mail), new_password=OTHER_PASSWORD, actor=STRANGER)
    assert logged_in(strict, password=OTHER_PASSWORD).access_token


def test_an_operator_opens_a_locked_login(strict: Core, clock: MovedClock) -> None:
    account = active(strict)
    _hammered(strict, clock, 10)
    with pytest.raises(Forbidden):
        login.unlock(strict, user_id=account.id, actor=STRANGER)
    assert login.unlock(strict, user_id=account.id, actor=OPERATOR)
    assert not login.unlock(strict, user_id=account.id, actor=OPERATOR)
    assert len(audit_rows(strict, "user.login_unlocked")) == 1
    assert logged_in(strict).access_token


# -- turns to hash


def test_who_has_logged_in_from_there_goes_first_and_sign_ups_have_their_half(core: Core) -> None:
    active(core)
    with watching_hashes(core) as (watched, pool):
        attempt(watched, password=PASSWORD, ip="198.51.100.7")
        attempt(watched, ip="198.51.100.7")
        attempt(watched, ip="192.0.2.1")
        attempt(watched, email="nobody@example.org", ip="198.51.100.7")
        registration.register(watched, email="bob@example.org", password=PASSWORD, actor=STRANGER)
    assert pool.turns == ["ordinary", "first", "ordinary", "ordinary", "sign_up"]
    assert pool.clients[:4] == ["198.51.100.7", "198.51.100.7", "192.0.2.1", "198.51.100.7"]


@contextmanager
def flooded(pool: HashingPool) -> Iterator[None]:
    """Strangers fill the queue, and take every place in it that becomes free."""
    over = threading.Event()

    def insist() -> None:
        while not over.is_set():
            with suppress(Overloaded):
                pool.run(lambda: over.wait(0.02))
            over.wait(0.001)

    with ThreadPoolExecutor(pool.places) as strangers:
        for _ in range(pool.places):
            strangers.submit(insist)
        try:
            while not _is_full(pool):
                threading.Event().wait(0.001)
            yield
        finally:
            over.set()


@contextmanager
def full(pool: HashingPool) -> Iterator[None]:
    """Strangers fill the queue, and stay."""
    over = threading.Event()
    with ThreadPoolExecutor(pool.places) as strangers:
        jobs = [strangers.submit(pool.run, lambda: over.wait(30)) for _ in range(18)]
        try:
            while not _is_full(pool):
                threading.Event().wait(0.001)
            yield
        finally:
            over.set()
    assert all(job.result() for job in jobs)


def _is_full(pool: HashingPool) -> bool:
    try:
        pool.require_room(None, "ordinary")
    except Overloaded:
        return True
    return False


def test_who_has_logged_in_from_there_gets_in_while_strangers_keep_the_queue_full(core: Core) -> None:
    active(core)
    with watching_hashes(core) as (watched, pool):
        assert codes(watched, 1, password=PASSWORD, ip="198.51.100.7") == ["in"]
        with flooded(pool):
            assert codes(watched, 5, password=PASSWORD, ip="198.51.100.7") == ["in"] * 5


def test_a_flood_against_a_full_queue_does_not_even_try_to_write(core: Core) -> None:
    active(core)
    write = core.write
    with watching_hashes(core) as (watched, pool), full(pool), core.database.writing():
        watched.write = lambda **_: write(wait=0.01)  # type: ignore[method-assign]
        for number in range(20):
            error = attempt(watched, password=PASSWORD, ip=f"203.0.113.{number}")
            assert isinstance(error, Overloaded)
            assert error.retry_after


# -- the other ways to try a password, and the other requests


def test_a32_a_wrong_current_password_counts_as_a_failed_login(core: Core) -> None:
    account = active(core)
    actor = STRANGER.signed_in(account.id, account.id)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            passwords.change(core, current_password=WRONG, new_password=OTHER_PASSWORD, actor=actor)
    with pytest.raises(TooManyAttempts):
        passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=actor)
    assert codes(core, 1, password=PASSWORD) == ["TOO_MANY_ATTEMPTS"]


def test_the_right_current_password_does_not_count_whatever_is_wrong_with_the_new_one(core: Core) -> None:
    actor = signed_in(core, active(core).email)
    for _ in range(7):
        with pytest.raises(WeakPassword):
            passwords.change(core, current_password=PASSWORD, new_password="too short", actor=actor)
    passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=actor)


def test_the_right_password_of_a_deactivated_account_counts_too(core: Core) -> None:
    deactivated(core)
    found = [type(attempt(core, password=PASSWORD)) for _ in range(6)]
    assert found == [AccountDeactivated] * 5 + [TooManyAttempts]


REQUESTS: dict[str, Callable[[Core, Actor], object]] = {
    "register": lambda core, who: registration.register(core, email=EMAIL, password=PASSWORD, actor=who),
    "resend": lambda core, who: registration.resend_activation(core, email=EMAIL, actor=who),
    "activate": lambda core, who: registration.activate(core, token="none", actor=who),
    "forgot": lambda core, who: passwords.forgot(core, email=EMAIL, actor=who),
    "reset": lambda core, who: passwords.reset(core, token="none", new_password=PASSWORD, actor=who),
}


def _refused_for(core: Core, asking: str, actor: Actor = STRANGER) -> int | None:
    """For how many seconds, where it is for too many requests."""
    try:
        REQUESTS[asking](core, actor)
    except TooManyAttempts as error:
        return error.retry_after
    except DomainError:
        pass
    return None


@pytest.mark.parametrize("asking", REQUESTS)
def test_a48_requests_of_one_network_are_limited_a_minute_each_kind_apart(
    make_core: Make, clock: MovedClock, asking: str
) -> None:
    core = make_core(throttle__requests_per_minute=2)
    assert [_refused_for(core, asking) for _ in range(4)] == [None, None, 60, 60]
    assert {_refused_for(core, other) for other in REQUESTS if other != asking} == {None}
    assert _refused_for(core, asking, OWNER) is None
    clock.move(seconds=59)
    assert _refused_for(core, asking) == 1
    clock.move(seconds=1)
    assert _refused_for(core, asking) is None


def test_who_comes_from_no_network_shares_a_count_with_nobody(make_core: Make) -> None:
    core = make_core()
    active(core)
    active(core, "bob@example.org")
    core = make_core(throttle__requests_per_minute=1, throttle__mails_per_network_and_day=1)
    here = replace(STRANGER, ip=None)
    for email in (EMAIL, "bob@example.org"):
        passwords.forgot(core, email=email, actor=here)
    assert len(delivered(core)) == 2


def test_refreshes_of_one_network_are_counted_the_refused_ones_too(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__refreshes_in_five_minutes=3)
    active(core)
    pair = logged_in(core)
    sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
    found = []
    for _ in range(4):
        with pytest.raises(DomainError) as caught:
            sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
        found.append(caught.value.code)
    assert found == ["SESSION_ENDED"] * 3 + ["TOO_MANY_ATTEMPTS"]
    assert caught.value.retry_after == 300
    clock.move(minutes=5)
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)


def test_a48_requests_that_may_cause_mail_are_limited_a_day_without_telling(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(throttle__mails_per_network_and_day=2)
    active(core)
    for number in range(5):
        passwords.forgot(core, email=f"u{number}@example.org", actor=STRANGER)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert delivered(core) == []
    passwords.forgot(core, email=EMAIL, actor=OWNER)
    assert len(delivered(core)) == 1
    clock.move(days=1, seconds=-1)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert delivered(core) == []
    clock.move(seconds=1)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert len(delivered(core)) == 1


def test_switched_off_nothing_is_limited(make_core: Make) -> None:
    core = make_core(throttle__enabled=False)
    active(core)
    assert codes(core, 12) == ["INVALID_CREDENTIALS"] * 12
    for _ in range(25):
        passwords.forgot(core, email=EMAIL, actor=Actor("anonymous", ip="192.0.2.1"))
    assert len(delivered(core)) == 25
