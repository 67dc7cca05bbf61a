from datetime import timedelta
from uuid import uuid4

import pytest

from tests.conftest import Make
from tests.factories import STRANGER, active, logged_in, rewrite_user, user_row
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import InvalidToken, SessionEnded, TokenExpired
from usersvc.services import sessions
from usersvc.services.accounts import FullAccount
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate


def test_a_bearer_is_the_user_in_his_session_and_keeps_where_he_comes_from(
    core: Core, stranger: Actor
) -> None:
    account = active(core)
    pair = logged_in(core)
    actor, shown = authenticate(core, access_token=pair.access_token, actor=stranger)
    assert (actor.kind, actor.user_id) == ("user", account.id)
    assert actor.session_id is not None
    assert (actor.ip, actor.user_agent, actor.request_id) == ("192.0.2.1", "pytest", "test-request")
    assert shown == FullAccount.keeping(user_row(core), None, None)


@pytest.mark.parametrize(("seconds", "works"), [(0, True), (629, True), (630, False), (3600, False)])
def test_an_access_token_works_for_its_minutes_and_the_leeway(
    core: Core, clock: MovedClock, seconds: int, works: bool
) -> None:
    clock.at = clock.at.replace(microsecond=0)
    active(core)
    pair = logged_in(core)
    clock.move(seconds=seconds)
    if works:
        assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    else:
        with pytest.raises(TokenExpired):
            authenticate(core, access_token=pair.access_token, actor=STRANGER)


def test_a_token_from_the_future_is_refused_beyond_the_leeway(core: Core, clock: MovedClock) -> None:
    active(core)
    pair = logged_in(core)
    clock.move(seconds=-30)
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    clock.move(seconds=-2)
    with pytest.raises(InvalidToken):
        authenticate(core, access_token=pair.access_token, actor=STRANGER)


def test_a71_only_an_access_token_authenticates(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    head, body, _ = pair.access_token.split(".")
    for token in ("", "x", "a.b.c", "\ud800", pair.refresh_token, f"{head}.{body}.", "x" * 100_000):
        with pytest.raises(InvalidToken):
            authenticate(core, access_token=token, actor=STRANGER)


def test_a72_a_token_of_another_issuer_or_audience_is_refused(make_core: Make) -> None:
    core = make_core()
    active(core)
    pair = logged_in(core)
    for elsewhere in (
        make_core(tokens__issuer="https://elsewhere.example.org"),
        make_core(tokens__audience="elsewhere"),
    ):
        with pytest.raises(InvalidToken):
            authenticate(elsewhere, access_token=pair.access_token, actor=STRANGER)


@pytest.mark.parametrize("status", ["deactivated", "pending", "invited"])
def test_a30_a_token_of_an_account_that_is_not_active_is_refused_at_once(core: Core, status: str) -> None:
    active(core)
    pair = logged_in(core)
    rewrite_user(core, status=status)  # deactivating is not written yet
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=pair.access_token, actor=STRANGER)


def test_a55_a_changed_role_counts_at_once(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    rewrite_user(core, role="admin")  # changing roles is not written yet
    shown = authenticate(core, access_token=pair.access_token, actor=STRANGER)[1]
    assert (shown.role, shown.is_admin) == ("admin", True)


def test_a27_a_token_of_an_ended_session_is_refused_at_once(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=pair.access_token, actor=STRANGER)


def test_a_token_of_a_session_that_is_gone_or_somebody_elses_is_refused(core: Core) -> None:
    active(core)
    other = active(core, "grace@example.org")
    pair = logged_in(core)
    claims = core.tokens.read_access(pair.access_token, at=core.clock.now())
    for user_id, session_id in ((claims.user_id, uuid4()), (other.id, claims.session_id)):
        token = core.tokens.sign_access(
            user_id=user_id,
            session_id=session_id,
            role="user",
            permissions=[],
            groups=[],
            at=core.clock.now(),
            expires_at=core.clock.now() + timedelta(minutes=10),
        )
        with pytest.raises(SessionEnded):
            authenticate(core, access_token=token, actor=STRANGER)


@pytest.mark.sqlite
def test_authenticating_writes_nothing(core: Core) -> None:
    active(core)
    pair = logged_in(core)
    with core.write() as tx:
        before = tx.connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    authenticate(core, access_token=pair.access_token, actor=STRANGER)
    with core.write() as tx:
        assert tx.connection.exec_driver_sql("SELECT total_changes()").scalar_one() == before


def test_what_is_shown_of_an_account_holds_no_password(core: Core) -> None:
    active(core, username="ada")
    shown = authenticate(core, access_token=logged_in(core).access_token, actor=STRANGER)[1]
    assert (shown.username, shown.is_active, shown.is_admin) == ("ada", True, False)
    assert str(user_row(core).password_hash) not in repr(shown)
