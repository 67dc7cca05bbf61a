"""From which networks accounts have logged in: whose, from where, since when, and what is purged."""

from datetime import timedelta
from uuid import UUID

import pytest

from tests.factories import active
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.security.secrets import digest

HERE, ELSEWHERE = digest("here"), digest("elsewhere")
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def ada(core: Core) -> UUID:
    return active(core).id


def _remember(core: Core, user_id: UUID, network: bytes = HERE) -> None:
    with core.write() as tx:
        tx.known_networks.remember(user_id, network, at=tx.now)


def _knows(core: Core, user_id: UUID, network: bytes = HERE, *, within: timedelta = DAY) -> bool:
    with core.read() as tx:
        return tx.known_networks.knows(user_id, network, since=tx.now - within)


def test_an_account_is_known_where_it_logged_in_and_nowhere_else(core: Core, ada: UUID) -> None:
    bob = active(core, "bob@example.org").id
    assert not _knows(core, ada)
    _remember(core, ada)
    assert _knows(core, ada)
    assert not _knows(core, ada, ELSEWHERE)
    assert not _knows(core, bob)


def test_it_is_known_from_the_last_login_on(core: Core, clock: MovedClock, ada: UUID) -> None:
    _remember(core, ada)
    clock.move(hours=24)
    assert _knows(core, ada)
    assert not _knows(core, ada, within=DAY - SECOND)
    _remember(core, ada)
    assert _knows(core, ada, within=timedelta(0))


def test_another_login_is_noted_for_its_account_and_network_alone(
    core: Core, clock: MovedClock, ada: UUID
) -> None:
    bob = active(core, "bob@example.org").id
    for user_id, network in ((ada, HERE), (ada, ELSEWHERE), (bob, HERE)):
        _remember(core, user_id, network)
    clock.move(hours=1)
    _remember(core, ada)
    assert _knows(core, ada, within=SECOND)
    assert not _knows(core, ada, ELSEWHERE, within=SECOND)
    assert not _knows(core, bob, within=SECOND)


def test_purging_takes_what_is_older_up_to_the_limit(core: Core, clock: MovedClock, ada: UUID) -> None:
    for name in ("one", "two", "three"):
        _remember(core, ada, digest(name))
    clock.move(seconds=1)
    _remember(core, ada)
    with core.write() as tx:
        assert tx.known_networks.count_before(tx.now - SECOND) == 0
        assert tx.known_networks.delete_before(tx.now - SECOND, limit=9) == 0
        assert tx.known_networks.count_before(tx.now) == 3
        assert tx.known_networks.delete_before(tx.now, limit=2) == 2
        assert tx.known_networks.delete_before(tx.now, limit=2) == 1
        assert tx.known_networks.delete_before(tx.now, limit=2) == 0
    assert _knows(core, ada)
