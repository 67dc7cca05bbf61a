"""Logging in and out, and its limits."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from tests.audited.case import ROOT, World, told
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
    logged_in,
    signed_in,
    token_in,
    user_row,
)
from usersvc.errors import DomainError, Overloaded, WrongPassword
from usersvc.services import (
    attempts,
    login,
    passwords,
    requests,
    sessions,
)


@told(login.log_in, "user.logged_in | user ada | ada | ok")
def log_in(w: World) -> Iterator[None]:
    active(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous | ada | INVALID_CREDENTIALS")
def log_in_with_a_wrong_password(w: World) -> Iterator[None]:
    active(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous |  | INVALID_CREDENTIALS")
def log_in_under_an_unknown_address(w: World) -> Iterator[None]:
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous | ada | ACCOUNT_DEACTIVATED")
def log_in_to_a_deactivated_account(w: World) -> Iterator[None]:
    deactivated(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "session.ended_as_surplus | anonymous | ada | ok", "user.logged_in | user ada | ada | ok")
def log_in_once_too_often(w: World) -> Iterator[None]:
    w.core = w.make_core(sessions__max_per_user=1)
    active(w.core)
    logged_in(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(sessions.refresh)
def refresh(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    yield
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.refresh, "session.ended_after_reuse | anonymous | ada | TOKEN_REUSED")
def refresh_with_a_copied_token(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)
    w.clock.move(minutes=1)
    yield
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.log_out, "session.logged_out | user ada | ada | ok")
def log_out(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    yield
    sessions.log_out(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.log_out_everywhere, "session.logged_out_everywhere | user ada | ada | ok")
def log_out_everywhere(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    sessions.log_out_everywhere(w.core, actor=by)


@told(sessions.end_own, "session.ended | user ada | ada | ok")
def end_one_session(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    assert by.session_id
    yield
    sessions.end_own(w.core, session_id=by.session_id, actor=by)


@told(sessions.revoke_all, "session.revoked_all | user root | ada | ok")
def revoke_sessions(w: World) -> Iterator[None]:
    account = active(w.core)
    logged_in(w.core)
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    sessions.revoke_all(w.core, user_id=account.id, actor=by)


def _fail(w: World, times: int, ip: str = "192.0.2.1") -> None:
    for _ in range(times):
        with suppress(DomainError):
            login.log_in(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=replace(STRANGER, ip=ip))


def _locked(w: World) -> None:
    """An account that nobody gets into from where he never was."""
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    for number in range(10):
        _fail(w, 1, ip=f"198.51.100.{number}")


_FAILED = "user.login_failed | anonymous | ada | INVALID_CREDENTIALS"


@told(login.log_in, _FAILED, "user.login_paused | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_until_there_is_a_pause(w: World) -> Iterator[None]:
    active(w.core)
    _fail(w, 4)
    yield
    _fail(w, 1)


@told(login.log_in, _FAILED, "user.login_paused | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_after_a_pause_until_there_is_another(w: World) -> Iterator[None]:
    active(w.core)
    _fail(w, 5)
    w.clock.move(minutes=1)
    yield
    _fail(w, 1)


@told(login.log_in, *[_FAILED] * 2, *["user.login_paused | anonymous | ada | INVALID_CREDENTIALS"] * 2)
def log_in_in_vain_until_the_network_pauses_too(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__network_login_attempts=5)
    active(w.core)
    _fail(w, 3)
    yield
    _fail(w, 9)


@told(login.log_in, _FAILED, "user.login_locked | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_until_the_login_is_locked(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    for number in range(9):
        _fail(w, 1, ip=f"198.51.100.{number}")
    yield
    _fail(w, 1)


@told(login.log_in, "user.login_unlocked | anonymous | ada | ok", "user.logged_in | user ada | ada | ok")
def log_in_to_a_locked_account_from_a_known_network(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    logged_in(w.core)
    for number in range(10):
        _fail(w, 1, ip=f"198.51.100.{number}")
    yield
    logged_in(w.core)


@told(passwords.reset, "user.login_unlocked | anonymous | ada | ok", "password.reset | anonymous | ada | ok")
def reset_the_password_of_a_locked_account(w: World) -> Iterator[None]:
    _locked(w)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    token = token_in(delivered(w.core)[-1])
    yield
    passwords.reset(w.core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


@told(login.unlock, "user.login_unlocked | operator tester | ada | ok")
def unlock(w: World) -> Iterator[None]:
    _locked(w)
    user_id = user_row(w.core).id
    yield
    login.unlock(w.core, user_id=user_id, actor=OPERATOR)


@told(attempts.admit)
def count_an_attempt(w: World) -> Iterator[None]:
    yield
    attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)


@told(attempts.verify)
def give_an_attempt_back(w: World) -> Iterator[None]:
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    w.core.hashing.close()
    yield
    with suppress(Overloaded):
        attempts.verify(w.core, attempt, password=PASSWORD)


@told(requests.count)
def count_a_request(w: World) -> Iterator[None]:
    yield
    requests.count(w.core, "register", STRANGER)


@told(attempts.succeed)
def give_the_right_password(w: World) -> Iterator[None]:
    active(w.core)
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    yield
    attempts.succeed(w.core, attempt)


@told(attempts.fail, "password.change_failed | anonymous | ada | WRONG_PASSWORD")
def settle_a_failure(w: World) -> Iterator[None]:
    active(w.core)
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    yield
    attempts.fail(w.core, attempt, WrongPassword(), action="password.change_failed")


@told(attempts.verify_own, "password.change_failed | user ada | ada | WRONG_PASSWORD")
def verify_ones_own_password_with_a_wrong_one(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    attempts.verify_own(w.core, password=OTHER_PASSWORD, actor=by, action="password.change_failed")
