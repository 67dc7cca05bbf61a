"""Link tokens: spent once, dead in four ways, purged when dead."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tests.conftest import Make
from tests.factories import active, outbox_rows, pending
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.repositories.link_tokens import LinkToken
from usersvc.security.secrets import digest, new_id

HOUR = timedelta(hours=1)


@pytest.fixture
def token(core: Core) -> LinkToken:
    """The one of an activation mail."""
    secret = pending(core)
    with core.read() as tx:
        found = tx.link_tokens.by_digest(digest(secret), "activation")
    assert found
    return found


def _another(core: Core, like: LinkToken, **values: object) -> LinkToken:
    token_id = new_id(core.clock.now())
    token = replace(like, id=token_id, digest=digest(token_id.hex), **values)
    with core.write() as tx:
        tx.link_tokens.insert(token)
    return token


def _again(core: Core, token: LinkToken) -> LinkToken | None:
    with core.read() as tx:
        return tx.link_tokens.by_id(token.id)


def test_a17_of_many_that_use_a_link_at_once_one_does(make_core: Make, core: Core, token: LinkToken) -> None:
    """In threads, and through two databases as from two processes."""
    cores = [core, make_core()]
    together = threading.Barrier(8, timeout=60)
    wins: list[bool] = []

    def use(mine: Core) -> None:
        together.wait()
        with mine.write(wait=60) as tx:
            wins.append(tx.link_tokens.use(token.id, at=tx.now))

    threads = [threading.Thread(target=use, args=(cores[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_a_used_link_is_dead_and_remembers_when(core: Core, clock: MovedClock, token: LinkToken) -> None:
    with core.write() as tx:
        assert tx.link_tokens.use(token.id, at=tx.now)
    used_at = clock.now()
    clock.move(minutes=1)
    with core.write() as tx:
        assert not tx.link_tokens.use(token.id, at=tx.now)
    assert _again(core, token) == replace(token, used_at=used_at)
    assert not replace(token, used_at=used_at).lives(used_at)


def test_a_link_is_dead_from_its_last_second_on(core: Core, token: LinkToken) -> None:
    instant = timedelta(microseconds=1)
    assert token.lives(token.expires_at - instant)
    assert not token.lives(token.expires_at)
    assert not token.lives(token.expires_at + instant)
    with core.write() as tx:
        assert not tx.link_tokens.use(token.id, at=token.expires_at)
        assert not tx.link_tokens.use(token.id, at=token.expires_at + instant)
        assert tx.link_tokens.use(token.id, at=token.expires_at - instant)


def test_a_revoked_link_is_dead(core: Core, token: LinkToken) -> None:
    with core.write() as tx:
        assert tx.link_tokens.revoke_all(token.user_id, at=tx.now) == 1
        assert tx.link_tokens.revoke_all(token.user_id, at=tx.now) == 0
        assert not tx.link_tokens.use(token.id, at=tx.now)
    revoked = _again(core, token)
    assert revoked
    assert revoked.revoked_at == core.clock.now()
    assert not revoked.lives(core.clock.now())


def test_revoking_one_purpose_leaves_the_others_and_other_users(core: Core, token: LinkToken) -> None:
    reset = _another(core, token, purpose="reset")
    pending(core, "other@example.org")
    with core.write() as tx:
        assert tx.link_tokens.revoke_all(token.user_id, at=tx.now, purpose="reset") == 1
    assert _again(core, token) == token
    with core.write() as tx:
        assert tx.link_tokens.revoke_all(token.user_id, at=tx.now) == 1
        living = "SELECT count(*) FROM link_tokens WHERE revoked_at IS NULL"
        assert tx.connection.exec_driver_sql(living).scalar() == 1
    assert _again(core, reset) == replace(reset, revoked_at=core.clock.now())


def test_a_user_has_one_living_link_for_a_purpose(core: Core, token: LinkToken) -> None:
    with pytest.raises(IntegrityError):
        _another(core, token)
    with core.write() as tx:
        tx.link_tokens.revoke_all(token.user_id, at=tx.now)
    _another(core, token)


def test_the_living_link_of_a_user_for_a_purpose_is_found(core: Core, token: LinkToken) -> None:
    now = core.clock.now()
    for dead in ({"used_at": now - HOUR}, {"revoked_at": now - HOUR}):
        _another(core, token, **dead)
    reset = _another(core, token, purpose="reset")
    pending(core, "other@example.org")
    other = active(core, "third@example.org")
    with core.read() as tx:
        assert tx.link_tokens.living(token.user_id, "activation", at=now) == token
        assert tx.link_tokens.living(token.user_id, "reset", at=now) == reset
        assert tx.link_tokens.living(token.user_id, "invitation", at=now) is None
        assert tx.link_tokens.living(token.user_id, "activation", at=token.expires_at) is None
        assert tx.link_tokens.living(other.id, "activation", at=now) is None


@pytest.mark.parametrize("dead", ["used_at", "revoked_at"])
def test_a_link_that_is_dead_is_not_the_living_one(core: Core, token: LinkToken, dead: str) -> None:
    now = core.clock.now()
    reset = _another(core, token, purpose="reset", **{dead: now})
    with core.read() as tx:
        assert tx.link_tokens.living(token.user_id, "reset", at=now) is None
        assert tx.link_tokens.by_id(reset.id) == reset


def test_a_link_is_not_found_under_another_purpose(core: Core, token: LinkToken) -> None:
    with core.read() as tx:
        assert tx.link_tokens.by_digest(token.digest, "activation") == token
        assert tx.link_tokens.by_digest(token.digest, "reset", "invitation") is None
        assert tx.link_tokens.by_digest(digest("another"), "activation") is None


@pytest.mark.parametrize("dead", ["used_at", "revoked_at", "expires_at"])
def test_purging_takes_what_died_until_then(core: Core, token: LinkToken, dead: str) -> None:
    instant = timedelta(microseconds=1)
    died_at = core.clock.now() - HOUR
    _another(core, token, purpose="reset", **{dead: died_at})
    with core.write() as tx:
        assert tx.link_tokens.count_done_before(died_at - instant) == 0
        assert tx.link_tokens.delete_done_before(died_at - instant, limit=9) == 0
        for before in (died_at, died_at + instant):
            assert tx.link_tokens.count_done_before(before) == 1
        assert tx.link_tokens.delete_done_before(died_at, limit=9) == 1
    assert _again(core, token) == token


def test_purging_takes_dead_links_up_to_the_limit(core: Core, token: LinkToken) -> None:
    now = core.clock.now()
    for _ in range(2):
        _another(core, token, used_at=now - HOUR)
        _another(core, token, revoked_at=now - HOUR)
    _another(core, token, purpose="reset", expires_at=now)
    with core.write() as tx:
        assert tx.link_tokens.count_done_before(now) == 5
        assert tx.link_tokens.delete_done_before(now, limit=3) == 3
    with core.write() as tx:
        assert tx.link_tokens.count_done_before(now) == 2
        assert tx.link_tokens.delete_done_before(now, limit=3) == 2
        assert tx.link_tokens.delete_done_before(now, limit=3) == 0
    assert _again(core, token) == token


def test_a_mail_outlives_its_purged_link(core: Core, token: LinkToken) -> None:
    def mails() -> list[tuple[object, ...]]:
        return [(mail.address, mail.link_token_id) for mail in outbox_rows(core)]

    assert mails() == [("ada@example.org", token.id)]
    with core.write() as tx:
        tx.link_tokens.use(token.id, at=tx.now)
        assert tx.link_tokens.delete_done_before(tx.now, limit=10) == 1
    assert mails() == [("ada@example.org", None)]
