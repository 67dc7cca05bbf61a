"""Keys rotated while tokens live: published before they sign, verifying until the last token has died."""

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    STRANGER,
    active,
    audit_rows,
    delivered,
    logged_in,
    pending,
    together,
    token_in,
)
from tests.forgery import parts_of
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    Forbidden,
    InvalidCursor,
    InvalidLink,
    InvalidToken,
    KeyNotFound,
    KeyRefused,
    RotationPending,
    SessionEnded,
)
from usersvc.security.keys import ALGORITHMS, Use
from usersvc.services import directory, key_rotation, keys, maintenance, passwords, registration, sessions
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate
from usersvc.services.key_rotation import PUBLISHED_BEFORE, USES
from usersvc.services.sessions import TokenPair

PURGE = Actor.job("purge_expired")


def kid_of(token: str) -> str:
    return str(parts_of(token)[0]["kid"])


def states(core: Core, use: Use = Use.ACCESS) -> list[str]:
    """Of the keys of this use, the newest first."""
    return [key.state for key in key_rotation.list_keys(core, actor=OPERATOR) if key.use == use]


def kid(core: Core, use: Use, state: str = "signs") -> str:
    [found] = [
        key.kid
        for key in key_rotation.list_keys(core, actor=OPERATOR)
        if (key.use, key.state) == (use, state)
    ]
    return found


def rotated(core: Core, **more: object) -> None:
    key_rotation.rotate(core, actor=OPERATOR, **more)
    keys.follow(core)


def refreshed(core: Core, pair: TokenPair) -> TokenPair:
    return sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)


def test_a77_a_new_key_is_published_before_it_signs_and_the_old_one_verifies_on(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    before = logged_in(core)
    rotated(core)
    assert states(core) == ["next", "signs"]
    assert {jwk["kid"] for jwk in core.key_ring.jwks()["keys"]} == {
        kid(core, Use.ACCESS),
        kid(core, Use.ACCESS, "next"),
    }
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds() - 1)
    during = refreshed(core, before)
    assert kid_of(during.access_token) == kid_of(before.access_token)
    clock.move(seconds=1)
    assert states(core) == ["signs", "verifies"]
    after = refreshed(core, during)
    assert kid_of(after.access_token) == kid(core, Use.ACCESS) != kid_of(before.access_token)
    assert kid_of(after.refresh_token) == kid(core, Use.REFRESH) != kid_of(before.refresh_token)
    for pair in (during, after):
        assert authenticate(core, access_token=pair.access_token, actor=STRANGER)


def test_a_refresh_repeated_over_the_change_of_keys_gets_the_same_answer(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    pair = logged_in(core)
    rotated(core)
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds() - 1)
    first = refreshed(core, pair)
    clock.move(seconds=2)
    assert refreshed(core, pair).refresh_token == first.refresh_token


def test_a77_processes_that_look_at_other_times_never_refuse_each_others_tokens(
    core: Core, make_core: Make, clock: MovedClock
) -> None:
    """One saw the new key at once, the other just in time."""
    active(core)
    other = make_core()
    rotated(core)
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds())
    keys.follow(other)
    for signing, verifying in ((core, other), (other, core)):
        pair = logged_in(signing)
        assert kid_of(pair.access_token) == kid(core, Use.ACCESS)
        assert authenticate(verifying, access_token=pair.access_token, actor=STRANGER)
        assert refreshed(verifying, pair)


@pytest.mark.sqlite
def test_links_and_cursors_of_the_old_keys_are_good_until_they_end(core: Core, clock: MovedClock) -> None:
    link = pending(core)
    for n in range(3):
        active(core, f"user{n}@example.org")
    cursor = directory.list_users(core, limit=1, actor=OPERATOR).next_cursor
    rotated(core)
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds() + 1)
    assert directory.list_users(core, limit=1, cursor=cursor, actor=OPERATOR).accounts
    assert registration.activate(core, token=link, actor=STRANGER).status == "active"
    new_link = pending(core, "new@example.org")
    assert registration.activate(core, token=new_link, actor=STRANGER).status == "active"


@pytest.mark.sqlite
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_access_keys_of_each_algorithm_follow_each_other(
    core: Core, clock: MovedClock, algorithm: str
) -> None:
    active(core)
    before = logged_in(core)
    rotated(core, uses=[Use.ACCESS], algorithm=algorithm)
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds())
    pair = logged_in(core)
    assert parts_of(pair.access_token)[0]["alg"] == algorithm
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    keys.open_ring(core)
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    assert kid_of(refreshed(core, before).refresh_token) == kid_of(before.refresh_token)


def test_who_rotates_twice_at_once_makes_one_next_key(core: Core, make_core: Make) -> None:
    cores = [core, make_core(), make_core()]
    found = together(*(lambda c=c: key_rotation.rotate(c, actor=OPERATOR) for c in cores))
    assert sorted(type(one).__name__ for one in found) == ["RotationPending", "RotationPending", "list"]
    assert all(states(core, use) == ["next", "signs"] for use in USES)
    assert states(core, Use.THROTTLE) == ["signs"]


def test_a_rotation_that_cannot_be_whole_changes_nothing(core: Core, clock: MovedClock) -> None:
    rotated(core, uses=[Use.LINK])
    before = key_rotation.list_keys(core, actor=OPERATOR)
    with pytest.raises(RotationPending, match="signs link from"):
        rotated(core)
    assert key_rotation.list_keys(core, actor=OPERATOR) == before
    assert len(audit_rows(core, "key.retired")) == 1


@pytest.mark.sqlite
def test_keys_are_deleted_once_nothing_lives_under_them(core: Core, clock: MovedClock) -> None:
    active(core)
    idle, used = logged_in(core), logged_in(core)
    rotated(core)
    assert "keys" not in purged(core)
    clock.move(hours=1, seconds=PUBLISHED_BEFORE.total_seconds())
    assert purged(core)["keys"] == 1  # link: the only one was used
    clock.move(minutes=2)
    assert purged(core)["keys"] == 1  # access
    clock.move(days=1)
    assert purged(core)["keys"] == 1  # cursor
    used = refreshed(core, used)
    clock.move(days=12, hours=22)
    assert "keys" not in purged(core)
    assert refreshed(core, idle)
    clock.move(hours=1)
    assert purged(core)["keys"] == 1  # refresh: every session that lives was refreshed since
    keys.follow(core)
    assert refreshed(core, used)
    assert states(core) == states(core, Use.REFRESH) == states(core, Use.LINK) == ["signs"]
    assert {entry.detail["kid"] for entry in audit_rows(core, "key.deleted")}.isdisjoint(
        {key.kid for key in key_rotation.list_keys(core, actor=OPERATOR)}
    )


def purged(core: Core) -> dict[str, int]:
    counts = maintenance.purge(core, actor=PURGE)
    assert maintenance.purge(core, dry_run=True, actor=PURGE)["keys"] == 0
    return {kind: count for kind, count in counts.items() if count}


@pytest.mark.sqlite
def test_the_hourly_job_rotates_keys_that_have_signed_for_long(
    core: Core, make_core: Make, clock: MovedClock
) -> None:
    clock.move(days=400)
    assert key_rotation.rotate_due(core, actor=PURGE) == []
    core = make_core(tokens__rotation_days=90)
    assert {key.use for key in key_rotation.rotate_due(core, actor=PURGE)} == set(USES)
    assert key_rotation.rotate_due(core, actor=PURGE) == []
    clock.move(days=90, seconds=PUBLISHED_BEFORE.total_seconds() - 1)
    assert key_rotation.rotate_due(core, actor=PURGE) == []
    clock.move(seconds=1)
    assert len(key_rotation.rotate_due(core, actor=PURGE)) == len(USES)


# -- retired


def test_a_retired_access_key_is_refused_at_once_and_nobody_is_logged_out(
    core: Core, make_core: Make
) -> None:
    active(core)
    pair = logged_in(core)
    other = make_core()
    retired = key_rotation.retire(core, kid=kid(core, Use.ACCESS), actor=OPERATOR)
    assert (retired.sessions, retired.links) == (0, 0)
    for one in (core, other):
        keys.follow(one)
        with pytest.raises(InvalidToken):
            authenticate(one, access_token=pair.access_token, actor=STRANGER)
    assert states(core) == ["signs", "refused"]
    assert len(core.key_ring.jwks()["keys"]) == 1
    pair = refreshed(core, pair)
    assert authenticate(other, access_token=pair.access_token, actor=STRANGER)


def test_with_a_refresh_key_end_the_sessions_that_were_last_refreshed_under_it(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    idle, used = logged_in(core), logged_in(core)
    rotated(core)
    clock.move(seconds=PUBLISHED_BEFORE.total_seconds())
    used = refreshed(core, used)
    retired = key_rotation.retire(core, kid=kid_of(idle.refresh_token), actor=OPERATOR)
    assert retired.sessions == 1
    keys.follow(core)
    with pytest.raises(InvalidToken):
        refreshed(core, idle)
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=idle.access_token, actor=STRANGER)
    assert refreshed(core, used)


@pytest.mark.sqlite
def test_with_a_link_key_end_its_links_and_new_ones_can_be_asked_for(core: Core, clock: MovedClock) -> None:
    active(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    retired = key_rotation.retire(core, kid=kid(core, Use.LINK), actor=OPERATOR)
    assert retired.links == 1
    keys.follow(core)
    clock.move(minutes=2)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [again] = delivered(core)
    old, new = map(token_in, (mail, again))
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=old, new_password="violet anchor 77 spoon", actor=STRANGER)
    passwords.reset(core, token=new, new_password="violet anchor 77 spoon", actor=STRANGER)


@pytest.mark.sqlite
def test_with_a_cursor_key_lists_begin_anew(core: Core) -> None:
    for n in range(3):
        active(core, f"user{n}@example.org")
    cursor = directory.list_users(core, limit=1, actor=OPERATOR).next_cursor
    key_rotation.retire(core, kid=kid(core, Use.CURSOR), actor=OPERATOR)
    keys.follow(core)
    with pytest.raises(InvalidCursor):
        directory.list_users(core, limit=1, cursor=cursor, actor=OPERATOR)
    assert directory.list_users(core, limit=1, actor=OPERATOR).next_cursor


@pytest.mark.sqlite
def test_retiring_the_key_that_signs_lets_the_next_one_sign_at_once(core: Core) -> None:
    rotated(core)
    coming = kid(core, Use.ACCESS, "next")
    key_rotation.retire(core, kid=kid(core, Use.ACCESS), actor=OPERATOR)
    assert kid(core, Use.ACCESS) == coming
    assert states(core) == ["signs", "refused"]


@pytest.mark.sqlite
def test_retiring_the_next_key_lets_the_old_one_sign_on_and_another_rotation_begin(core: Core) -> None:
    signing = kid(core, Use.REFRESH)
    rotated(core)
    key_rotation.retire(core, kid=kid(core, Use.REFRESH, "next"), actor=OPERATOR)
    assert kid(core, Use.REFRESH) == signing
    rotated(core, uses=[Use.REFRESH])
    assert sorted(states(core, Use.REFRESH)) == ["next", "refused", "signs"]


@pytest.mark.sqlite
def test_a_key_is_retired_once_and_only_one_that_there_is(core: Core) -> None:
    key_rotation.retire(core, kid=(old := kid(core, Use.LINK)), actor=OPERATOR)
    with pytest.raises(KeyRefused):
        key_rotation.retire(core, kid=old, actor=OPERATOR)
    with pytest.raises(KeyNotFound):
        key_rotation.retire(core, kid="unknown", actor=OPERATOR)


@pytest.mark.sqlite
@pytest.mark.parametrize("who", ["admin", "anonymous", "job"])
def test_keys_are_for_the_shell_alone(core: Core, who: str) -> None:
    actor = {
        "admin": Actor("user", active(core).id),
        "anonymous": STRANGER,
        "job": Actor.job("rotate_keys"),
    }[who]
    acts = [
        lambda: key_rotation.list_keys(core, actor=actor),
        lambda: key_rotation.retire(core, kid=kid(core, Use.LINK), actor=actor),
    ]
    if who != "job":
        acts.append(lambda: key_rotation.rotate(core, actor=actor))
    for act in acts:
        with pytest.raises(Forbidden):
            act()
    assert all(key.state == "signs" for key in key_rotation.list_keys(core, actor=OPERATOR))


@pytest.mark.sqlite
def test_following_a_ring_that_did_not_change_keeps_what_was_verified(core: Core) -> None:
    ring, tokens = core.key_ring, core.tokens
    keys.follow(core)
    assert (core.key_ring, core.tokens) == (ring, tokens)
