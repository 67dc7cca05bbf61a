import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError

from tests.conftest import Make
from tests.database import dump, refusing
from tests.factories import (
    EMAIL,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    delivered,
    logged_in,
    outbox_rows,
    rewrite_user,
    signed_in,
    text_of,
    together,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db.models import sessions as sessions_table
from usersvc.errors import (
    DomainError,
    Forbidden,
    InvalidToken,
    SessionEnded,
    SessionNotFound,
    TokenExpired,
    TokenReused,
    UserNotFound,
)
from usersvc.repositories.sessions import Session
from usersvc.services import login, sessions
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate
from usersvc.services.sessions import TokenPair

GRACE = 10


def refresh(core: Core, pair: TokenPair, actor: Actor = STRANGER) -> TokenPair:
    return sessions.refresh(core, refresh_token=pair.refresh_token, actor=actor)


def the_session(core: Core) -> Session:
    columns = [sessions_table.c[name] for name in Session.__dataclass_fields__]
    with core.read() as tx:
        return Session(*tx.connection.execute(select(*columns)).one())


def actor_of(core: Core, pair: TokenPair, actor: Actor = STRANGER) -> Actor:
    return authenticate(core, access_token=pair.access_token, actor=actor)[0]


@pytest.fixture
def pair(core: Core) -> TokenPair:
    active(core, username="ada")
    return logged_in(core)


# -- the next step


def test_a_refresh_gives_new_tokens_of_the_same_session(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    logged_in_at = clock.now()
    clock.move(hours=1)
    fresh = refresh(core, pair)
    assert fresh.refresh_token != pair.refresh_token
    assert fresh.access_token != pair.access_token
    assert (fresh.expires_in, fresh.refresh_expires_in) == (600, 14 * 86400)
    actor = actor_of(core, fresh)
    session = the_session(core)
    assert actor.session_id == session.id
    assert (session.seq, session.rotated_at, session.last_used_at) == (2, clock.now(), clock.now())
    assert session.created_at == logged_in_at


def test_a_refresh_shows_the_role_as_it_is_now(core: Core, pair: TokenPair) -> None:
    rewrite_user(core, role="moderator")  # changing roles is not written yet
    fresh = refresh(core, pair)
    assert authenticate(core, access_token=fresh.access_token, actor=STRANGER)[1].role == "moderator"


def test_one_session_stays_one_row_however_often_it_is_refreshed(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    for _ in range(30):
        clock.move(minutes=9)
        pair = refresh(core, pair)
    assert the_session(core).seq == 31


def test_a_refreshed_session_of_another_user_is_left_alone(core: Core, pair: TokenPair) -> None:
    active(core, "grace@example.org")
    other = logged_in(core, "grace@example.org")
    refresh(core, pair)
    assert refresh(core, other).refresh_token


# -- sent again


@pytest.mark.parametrize("seconds", [0, 0.001, 5, GRACE - 0.001, GRACE])
def test_a31_sent_again_within_the_grace_a_token_gets_the_same_successor(
    core: Core, clock: MovedClock, pair: TokenPair, seconds: float
) -> None:
    clock.move(minutes=1)
    first = refresh(core, pair)
    rotated_at = the_session(core).rotated_at
    clock.move(seconds=seconds)
    again = refresh(core, pair)
    assert again.refresh_token == first.refresh_token
    assert actor_of(core, again).session_id == actor_of(core, first).session_id
    assert the_session(core).rotated_at == rotated_at
    assert refresh(core, again).refresh_token


@pytest.mark.parametrize("seconds", [GRACE + 0.001, GRACE + 1, 86400])
def test_a31c_sent_again_later_a_token_ends_its_session(
    core: Core, clock: MovedClock, pair: TokenPair, seconds: float
) -> None:
    refresh(core, pair)
    clock.move(seconds=seconds)
    with pytest.raises(TokenReused):
        refresh(core, pair)
    assert the_session(core).end_reason == "refresh token reused"


@pytest.mark.parametrize(("seconds", "works"), [(-5, True), (-GRACE, True), (-GRACE - 1, False)])
def test_the_grace_counts_the_same_when_the_clock_goes_back(
    core: Core, clock: MovedClock, pair: TokenPair, seconds: int, works: bool
) -> None:
    first = refresh(core, pair)
    clock.move(seconds=seconds)
    if works:
        assert refresh(core, pair).refresh_token == first.refresh_token
    else:
        with pytest.raises(TokenReused):
            refresh(core, pair)


def test_sending_again_does_not_prolong_the_grace(core: Core, clock: MovedClock, pair: TokenPair) -> None:
    refresh(core, pair)
    for _ in range(3):
        clock.move(seconds=3)
        refresh(core, pair)
    clock.move(seconds=2)
    with pytest.raises(TokenReused):
        refresh(core, pair)


def test_the_grace_is_a_setting(make_core: Make, clock: MovedClock, pair: TokenPair) -> None:
    core = make_core(tokens__refresh_grace_seconds=60)
    first = refresh(core, pair)
    clock.move(seconds=60)
    assert refresh(core, pair).refresh_token == first.refresh_token


def test_a31b_the_last_but_one_within_the_grace_gets_the_current_one(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    bar = refresh(core, pair)
    baz = refresh(core, bar)
    clock.move(seconds=5)
    assert refresh(core, bar).refresh_token == baz.refresh_token


def test_a31b_an_older_one_ends_the_session_even_within_the_grace(core: Core, pair: TokenPair) -> None:
    bar = refresh(core, pair)
    baz = refresh(core, bar)
    with pytest.raises(TokenReused):
        refresh(core, pair)
    for token in (bar, baz, pair):
        with pytest.raises(SessionEnded):
            refresh(core, token)


def test_a31b_the_current_one_goes_on(core: Core, pair: TokenPair) -> None:
    baz = refresh(core, refresh(core, pair))
    assert refresh(core, baz).refresh_token not in (pair.refresh_token, baz.refresh_token)


def test_a31c_a_reused_token_kills_everything_of_its_session_and_nothing_else(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    elsewhere = logged_in(core)
    thief = refresh(core, pair)
    clock.move(seconds=11)
    thief = refresh(core, thief)
    with pytest.raises(TokenReused):
        refresh(core, pair)
    with pytest.raises(SessionEnded):
        refresh(core, thief)
    for stolen in (pair, thief):
        with pytest.raises(SessionEnded):
            actor_of(core, stolen)
    assert actor_of(core, elsewhere)
    assert refresh(core, elsewhere).refresh_token


def test_a31c_a_reused_token_is_one_audit_entry_and_one_mail(
    core: Core, clock: MovedClock, pair: TokenPair, stranger: Actor
) -> None:
    owner = actor_of(core, pair).user_id
    logged_in_at = the_session(core).created_at
    refresh(core, pair)
    clock.move(minutes=1)
    rings: list[bool] = []
    core.doorbell = lambda: rings.append(True)
    for error in (TokenReused, SessionEnded, SessionEnded):
        with pytest.raises(error):
            refresh(core, pair, replace(stranger, ip="203.0.113.9"))
    assert rings == [True]
    [entry] = audit_rows(core, "session.ended_after_reuse")
    assert (entry.target_id, entry.ip, entry.request_id) == (owner, "203.0.113.9", "test-request")
    assert (entry.outcome, entry.detail) == ("TOKEN_REUSED", {"session": str(the_session(core).id)})
    [message] = delivered(core)
    assert message["To"].addresses[0].addr_spec == EMAIL
    assert message["Subject"].startswith("One of your sessions")
    text = text_of(message)
    assert "Device: pytest" in text
    assert f"{logged_in_at:%Y-%m-%d %H:%M} UTC" in text
    assert pair.refresh_token not in str(message)


def test_a31c_the_mail_of_a_session_of_an_unknown_device_says_so(core: Core, clock: MovedClock) -> None:
    owner = active(core)
    odd = Actor("anonymous", user_agent="Mozilla/5.0 (open evil.example)")
    nameless = login.log_in(core, email=EMAIL, password=PASSWORD, actor=odd)
    refresh(core, nameless)
    clock.move(minutes=1)
    with pytest.raises(TokenReused):
        refresh(core, nameless)
    assert outbox_rows(core)[-1].user_id == owner.id
    [message] = delivered(core)
    assert "Device: unknown\n" in text_of(message)


def test_a31c_parallel_reuse_raises_one_alarm(core: Core, clock: MovedClock, pair: TokenPair) -> None:
    refresh(core, pair)
    clock.move(minutes=1)
    answers = together(*[partial(refresh, core, pair)] * 10)
    assert sorted(answer.code for answer in answers) == ["SESSION_ENDED"] * 9 + ["TOKEN_REUSED"]
    assert len(audit_rows(core, "session.ended_after_reuse")) == 1
    assert len(delivered(core)) == 1


def test_a31_parallel_refreshes_log_nobody_out(make_core: Make, pair: TokenPair) -> None:
    # Two cores on one file are what two processes are.
    cores = [make_core(), make_core()]
    answers = together(*(partial(refresh, cores[number % 2], pair) for number in range(20)))
    assert all(isinstance(answer, TokenPair) for answer in answers)
    assert len({answer.refresh_token for answer in answers}) == 1
    assert the_session(cores[0]).seq == 2
    assert the_session(cores[0]).ended_at is None
    for answer in answers:
        assert actor_of(cores[0], answer)
    assert refresh(cores[1], answers[0]).refresh_token
    assert outbox_rows(cores[0])[1:] == []


def test_a31d_a_rotated_token_stays_dead_after_a_restart(
    core: Core, make_core: Make, clock: MovedClock, pair: TokenPair
) -> None:
    fresh = refresh(core, pair)
    clock.move(minutes=1)
    restarted = make_core()
    with pytest.raises(TokenReused):
        refresh(restarted, pair)
    for token in (pair, fresh):
        with pytest.raises(SessionEnded):
            refresh(make_core(), token)


def _backup(core: Core) -> None:
    with closing(sqlite3.connect(core.database.path)) as database:
        database.execute(f"VACUUM INTO '{core.database.path}.backup'")


def _restore(core: Core) -> None:
    core.close()
    for suffix in ("-wal", "-shm"):
        core.database.path.with_name(core.database.path.name + suffix).unlink(missing_ok=True)
    shutil.copy(f"{core.database.path}.backup", core.database.path)


@pytest.mark.sqlite
def test_a31d_a_rotated_token_stays_dead_after_a_restore(
    core: Core, make_core: Make, clock: MovedClock, pair: TokenPair
) -> None:
    refresh(core, pair)
    clock.move(minutes=1)
    _backup(core)
    _restore(core)
    with pytest.raises(TokenReused):
        refresh(make_core(), pair)


@pytest.mark.sqlite
def test_a_token_newer_than_a_restored_database_is_no_alarm(
    core: Core, make_core: Make, pair: TokenPair
) -> None:
    _backup(core)
    newer = refresh(core, refresh(core, pair))
    _restore(core)
    restored = make_core()
    mails = len(outbox_rows(restored))
    with pytest.raises(SessionEnded):
        refresh(restored, newer)
    assert audit_rows(restored, "session.ended_after_reuse") == []
    assert len(outbox_rows(restored)) == mails
    assert the_session(restored).ended_at is None
    assert refresh(restored, pair).refresh_token


def test_a31e_a_refresh_whose_write_failed_can_be_repeated(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    before = the_session(core)
    with refusing(core, "UPDATE", "sessions"), pytest.raises(DBAPIError):
        refresh(core, pair)
    assert the_session(core) == before
    clock.move(minutes=5)
    assert refresh(core, pair).refresh_token != pair.refresh_token


def test_a31e_a_refresh_whose_commit_failed_can_be_repeated(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    def fail(_connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    engine = core.database._writer
    before = the_session(core)
    event.listen(engine, "commit", fail)
    with pytest.raises((sqlite3.OperationalError, DBAPIError, DomainError)):
        refresh(core, pair)
    event.remove(engine, "commit", fail)
    assert the_session(core) == before
    clock.move(minutes=5)
    assert refresh(core, pair).refresh_token != pair.refresh_token


def test_a68_reuse_that_cannot_be_written_to_the_audit_ends_nothing(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    refresh(core, pair)
    clock.move(minutes=1)
    with refusing(core, "INSERT", "audit"), pytest.raises(DBAPIError):
        refresh(core, pair)
    assert the_session(core).ended_at is None


# -- when a session ends by itself


@pytest.mark.parametrize(("seconds_left", "works"), [(2, True), (0, False), (-1, False)])
def test_a28_a_session_ends_when_it_was_idle_too_long(
    core: Core, clock: MovedClock, pair: TokenPair, seconds_left: int, works: bool
) -> None:
    clock.move(days=14, seconds=-seconds_left)
    if works:
        assert refresh(core, pair).refresh_expires_in == 14 * 86400
    else:
        with pytest.raises(TokenExpired):
            refresh(core, pair)


def test_a28_what_is_left_of_a_session_is_told_in_whole_seconds_and_not_rounded_up(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    end = the_session(core).absolute_at
    clock.at = end - timedelta(seconds=1.5)
    with core.write() as tx:
        tx.connection.execute(sessions_table.update().values(expires_at=end))
    fresh = sessions.refresh(core, refresh_token=_resigned(core, pair), actor=STRANGER)
    assert (fresh.expires_in, fresh.refresh_expires_in) == (1, 1)


def test_a28_from_its_last_second_on_a_token_is_called_expired(core: Core, clock: MovedClock) -> None:
    active(core)
    clock.at = clock.at.replace(microsecond=0)
    pair = logged_in(core)
    clock.move(days=14)
    with pytest.raises(TokenExpired):
        refresh(core, pair)


def test_a28_daily_use_never_passes_the_absolute_end(core: Core, clock: MovedClock, pair: TokenPair) -> None:
    for _ in range(29):
        clock.move(days=1)
        pair = refresh(core, pair)
    assert pair.refresh_expires_in == 86400
    clock.move(days=1, seconds=-2)
    pair = refresh(core, pair)
    assert pair.refresh_expires_in == 2
    assert actor_of(core, pair)
    clock.move(seconds=2)
    with pytest.raises(TokenExpired):
        refresh(core, pair)
    with pytest.raises(SessionEnded):
        actor_of(core, pair)


def test_a28_idle_and_absolute_life_are_settings(make_core: Make, clock: MovedClock, pair: TokenPair) -> None:
    core = make_core(sessions__idle_days=2, sessions__absolute_days=3)
    pair = logged_in(core)
    assert pair.refresh_expires_in == 2 * 86400
    clock.move(days=1, hours=12)
    assert refresh(core, pair).refresh_expires_in == 1.5 * 86400


def test_a30_a_session_of_a_deactivated_account_is_not_refreshed(core: Core, pair: TokenPair) -> None:
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    with pytest.raises(SessionEnded):
        refresh(core, pair)
    assert the_session(core).seq == 1


# -- what is no refresh token of ours


def test_a70_a_token_that_is_none_is_refused(core: Core, pair: TokenPair) -> None:
    head, body, signature = pair.refresh_token.split(".")
    for token in (
        "",
        "x",
        "a.b.c",
        "\ud800",
        "x" * 100_000,
        pair.access_token,
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body[::-1]}.{signature}",
    ):
        with pytest.raises(InvalidToken):
            sessions.refresh(core, refresh_token=token, actor=STRANGER)
    assert refresh(core, pair).refresh_token


def _resigned(core: Core, pair: TokenPair, **changes: object) -> str:
    """The token with other claims, as only somebody with the key could sign it."""
    claims = core.tokens.read_refresh(pair.refresh_token)
    session = the_session(core)
    values = {"user_id": claims.user_id, "session_id": session.id, "seq": session.seq, "rnd": claims.rnd}
    return core.tokens.sign_refresh(
        **(values | changes), at=session.rotated_at, expires_at=session.expires_at
    )


def test_a_token_of_another_user_or_secret_or_session_is_refused(core: Core, pair: TokenPair) -> None:
    other = active(core, "grace@example.org")
    for changes, error in (
        ({"user_id": other.id}, InvalidToken),
        ({"rnd": "x" * 43}, InvalidToken),
        ({"session_id": uuid4()}, SessionEnded),
    ):
        with pytest.raises(error):
            sessions.refresh(core, refresh_token=_resigned(core, pair, **changes), actor=STRANGER)
    assert the_session(core).ended_at is None
    assert _resigned(core, pair) == pair.refresh_token


def test_a_step_that_was_not_taken_yet_is_no_alarm(core: Core, pair: TokenPair) -> None:
    mails = len(outbox_rows(core))
    for seq in (2, 3, 1000):
        with pytest.raises(SessionEnded):
            sessions.refresh(core, refresh_token=_resigned(core, pair, seq=seq), actor=STRANGER)
    assert the_session(core).seq == 1
    assert the_session(core).ended_at is None
    assert len(outbox_rows(core)) == mails


# -- logging out


def test_a27_after_logging_out_nothing_of_the_session_works(core: Core, pair: TokenPair) -> None:
    sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
    with pytest.raises(SessionEnded):
        refresh(core, pair)
    with pytest.raises(SessionEnded):
        actor_of(core, pair)
    assert the_session(core).end_reason == "logged out"


def test_a27_logging_out_leaves_other_sessions_alone(core: Core, pair: TokenPair) -> None:
    elsewhere = logged_in(core)
    sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
    assert actor_of(core, elsewhere)
    assert refresh(core, elsewhere).refresh_token


def test_a27_logging_out_again_is_fine_and_noted_once(core: Core, pair: TokenPair, stranger: Actor) -> None:
    owner = actor_of(core, pair)
    for _ in range(3):
        sessions.log_out(core, refresh_token=pair.refresh_token, actor=stranger)
    [entry] = audit_rows(core, "session.logged_out")
    assert entry.detail == {"session": str(owner.session_id)}
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("user", owner.user_id, owner.user_id)
    assert (entry.ip, entry.request_id, entry.outcome) == ("192.0.2.1", "test-request", "ok")


def test_a27_logging_out_works_with_a_rotated_and_with_an_expired_token(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    fresh = refresh(core, pair)
    clock.move(days=15)
    sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
    assert the_session(core).end_reason == "logged out"
    assert outbox_rows(core)[1:] == []
    with pytest.raises((SessionEnded, TokenExpired)):
        refresh(core, fresh)


def test_a27_logging_out_with_no_token_at_all_is_fine_and_ends_nothing(core: Core, pair: TokenPair) -> None:
    for token in (
        "",
        "x",
        "\ud800",
        pair.access_token,
        pair.refresh_token[:-2],
        _resigned(core, pair, session_id=uuid4()),
        _resigned(core, pair, rnd="x" * 43),
    ):
        sessions.log_out(core, refresh_token=token, actor=STRANGER)
    assert the_session(core).ended_at is None
    assert audit_rows(core, "session.logged_out") == []


def test_logging_out_everywhere_ends_all_sessions_of_the_actor(
    core: Core, pair: TokenPair, stranger: Actor
) -> None:
    active(core, "grace@example.org")
    others = logged_in(core, "grace@example.org")
    pairs = [pair, logged_in(core), logged_in(core)]
    actor = actor_of(core, pair, stranger)
    assert sessions.log_out_everywhere(core, actor=actor) == 3
    for ended in pairs:
        with pytest.raises(SessionEnded):
            actor_of(core, ended)
        with pytest.raises(SessionEnded):
            refresh(core, ended)
    assert actor_of(core, others)
    [entry] = audit_rows(core, "session.logged_out_everywhere")
    assert (entry.actor_id, entry.target_id, entry.detail) == (actor.user_id, actor.user_id, {"sessions": 3})
    assert (entry.ip, entry.request_id) == ("192.0.2.1", "test-request")
    assert logged_in(core).access_token


def test_logging_out_everywhere_does_not_count_what_had_ended(
    core: Core, clock: MovedClock, pair: TokenPair
) -> None:
    sessions.log_out(core, refresh_token=logged_in(core).refresh_token, actor=STRANGER)
    clock.move(days=15)
    living = logged_in(core)
    assert sessions.log_out_everywhere(core, actor=actor_of(core, living)) == 1


def test_nobody_logs_out_everywhere_without_being_somebody(core: Core) -> None:
    with pytest.raises(SessionEnded):
        sessions.log_out_everywhere(core, actor=STRANGER)


def test_a22_the_database_holds_no_refresh_token_and_not_its_secret(core: Core, pair: TokenPair) -> None:
    rnd = core.tokens.read_refresh(pair.refresh_token).rnd
    kept = dump(core)
    assert rnd not in kept
    assert pair.refresh_token.split(".")[2] not in kept
    assert the_session(core).rnd_digest.hex() in kept


def test_a30_who_is_not_signed_in_has_no_sessions_to_see_or_end(core: Core) -> None:
    active(core)
    logged_in(core)
    session = the_session(core)
    for ask in (
        sessions.list_own,
        sessions.log_out_everywhere,
        partial(sessions.end_own, session_id=session.id),
    ):
        with pytest.raises(SessionEnded):
            ask(core, actor=STRANGER)
    assert the_session(core) == session


def _end_of(core: Core, session_id: UUID | None) -> tuple[object, str | None]:
    assert session_id
    with core.read() as tx:
        found = tx.sessions.with_user(session_id)
    assert found
    return found[1].ended_at, found[1].end_reason


def test_a59_what_ends_a_session_stands_in_its_row_and_in_the_audit(core: Core, clock: MovedClock) -> None:
    account, by = active(core), signed_in(core, an_admin(core).email)
    first, second, third = signed_in(core), signed_in(core), signed_in(core)
    clock.move(minutes=1)
    sessions.end_own(core, session_id=second.session_id or uuid4(), actor=first)
    assert _end_of(core, second.session_id) == (clock.now(), "ended by its owner")
    [entry] = audit_rows(core, "session.ended")
    assert (entry.actor_id, entry.target_id) == (account.id, account.id)
    assert entry.detail == {"session": str(second.session_id)}
    assert sessions.log_out_everywhere(core, actor=first) == 2
    for one in (first, third):
        assert _end_of(core, one.session_id) == (clock.now(), "logged out everywhere")
    last = signed_in(core)
    assert sessions.revoke_all(core, user_id=account.id, actor=by) == 1
    assert _end_of(core, last.session_id) == (clock.now(), "revoked")
    [entry] = audit_rows(core, "session.revoked_all")
    assert (entry.actor_id, entry.target_id, entry.detail) == (by.user_id, account.id, {"sessions": 1})


def test_a59_a_session_is_shown_with_what_it_is_known_by(core: Core, clock: MovedClock) -> None:
    account, by = active(core), signed_in(core, an_admin(core).email)
    opened_at = clock.now()
    first = logged_in(core)
    clock.move(minutes=1)
    mine = signed_in(core)
    refresh(core, first)
    used_at = clock.now()
    for shown, current in (
        (sessions.list_own(core, actor=mine), mine.session_id),
        (sessions.list_of(core, user_id=account.id, actor=by), None),
    ):
        [one] = [view for view in shown if view.id != mine.session_id]
        assert (one.device, one.ip) == (STRANGER.user_agent, STRANGER.ip)
        assert (one.created_at, one.last_used_at) == (opened_at, used_at)
        assert {view.id for view in shown if view.current} == ({current} if current else set())


def test_a30_sessions_of_others_are_for_who_may_read_or_write_them_and_are_there(core: Core) -> None:
    account, root = active(core), an_admin(core)
    logged_in(core)
    session = the_session(core)
    for actor in (STRANGER, signed_in(core, account.email)):
        for act in (sessions.list_of, sessions.revoke_all):
            with pytest.raises(Forbidden):
                act(core, user_id=account.id, actor=actor)
            with pytest.raises(Forbidden):
                act(core, user_id=root.id, actor=actor)
    by = signed_in(core, root.email)
    for act in (sessions.list_of, sessions.revoke_all):
        with pytest.raises(UserNotFound):
            act(core, user_id=uuid4(), actor=by)
    assert session.id in {one.id for one in sessions.list_of(core, user_id=account.id, actor=by)}
    assert sessions.revoke_all(core, user_id=account.id, actor=by) == 2
    assert sessions.list_of(core, user_id=account.id, actor=by) == []
    with pytest.raises(SessionNotFound):
        sessions.end_own(core, session_id=by.session_id or uuid4(), actor=replace(by, user_id=account.id))
