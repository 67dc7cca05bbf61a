"""The core: when a transaction is kept, when the doorbell rings, what an audit entry holds."""

from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from tests.conftest import Make
from tests.factories import entries_of
from usersvc.clock import MovedClock
from usersvc.core import Core, Tx, build
from usersvc.errors import DatabaseBusy, InvalidCredentials, KeepWrites
from usersvc.services.actor import Actor

AT_WORK = "at work"


def _finish(tx: Tx, name: str = AT_WORK) -> None:
    tx.jobs.finish(name, at=tx.now, counts={})


def _is_kept(core: Core, name: str = AT_WORK) -> bool:
    """As another process sees it."""
    with core.read() as tx:
        return tx.jobs.by_name(name) is not None


class Doorbell:
    """Counts, and notes what others could see when it was rung."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.saw: list[bool] = []

    def __call__(self) -> None:
        self.saw.append(_is_kept(self.core))


@pytest.fixture
def doorbell(core: Core) -> Doorbell:
    core.doorbell = Doorbell(core)
    return core.doorbell


# -- write


def test_what_is_written_is_committed_at_the_end_of_the_block(core: Core) -> None:
    with core.write() as tx:
        _finish(tx)
        assert not _is_kept(core)
    assert _is_kept(core)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, InvalidCredentials, KeyboardInterrupt, SystemExit, Stop])
def test_any_error_rolls_back_and_goes_on(core: Core, error: type[BaseException]) -> None:
    with pytest.raises(error), core.write() as tx:
        _finish(tx)
        raise error
    assert not _is_kept(core)
    with core.write(wait=0.1) as tx:
        _finish(tx)
    assert _is_kept(core)


def test_keep_writes_commits_and_raises_what_it_carries(core: Core) -> None:
    fact = InvalidCredentials()
    with pytest.raises(InvalidCredentials) as raised, core.write() as tx:
        _finish(tx)
        raise KeepWrites(fact)
    assert raised.value is fact
    assert _is_kept(core)


def test_keep_writes_raises_only_after_others_may_write_again(core: Core) -> None:
    try:
        with core.write() as tx:
            raise KeepWrites(InvalidCredentials())
    except InvalidCredentials:
        with core.write(wait=0.1) as tx:
            _finish(tx)
    assert _is_kept(core)


@pytest.mark.sqlite
def test_a_write_inside_a_write_is_busy_and_harms_the_outer_one_not(core: Core) -> None:
    with core.write() as tx:
        _finish(tx)
        with pytest.raises(DatabaseBusy), core.write(wait=0.01):
            pytest.fail("a transaction inside a transaction")
    assert _is_kept(core)


def test_a_transaction_has_one_time_that_of_its_beginning(core: Core, clock: MovedClock) -> None:
    began = clock.now()
    with core.write() as tx:
        clock.move(minutes=5)
        assert tx.now == began
    with core.read() as tx:
        assert tx.now == clock.now()


# -- the doorbell


def test_the_doorbell_is_rung_once_and_after_the_commit(core: Core, doorbell: Doorbell) -> None:
    with core.write() as tx:
        tx.wake_worker()
        _finish(tx)
        tx.wake_worker()
        assert doorbell.saw == []
    assert doorbell.saw == [True]


def test_the_doorbell_is_not_rung_unasked(core: Core, doorbell: Doorbell) -> None:
    with core.write() as tx:
        _finish(tx)
    with core.read():
        pass
    assert doorbell.saw == []


def test_the_doorbell_is_not_rung_for_what_was_rolled_back(core: Core, doorbell: Doorbell) -> None:
    with pytest.raises(InvalidCredentials), core.write() as tx:
        tx.wake_worker()
        raise InvalidCredentials
    assert doorbell.saw == []


def test_the_doorbell_is_rung_for_writes_that_are_kept_in_spite_of_an_error(
    core: Core, doorbell: Doorbell
) -> None:
    with pytest.raises(InvalidCredentials), core.write() as tx:
        _finish(tx)
        tx.wake_worker()
        raise KeepWrites(InvalidCredentials())
    assert doorbell.saw == [True]


def test_who_answers_the_doorbell_can_write(core: Core) -> None:
    def answer() -> None:
        with core.write(wait=0.1) as tx:
            _finish(tx, "answered")

    core.doorbell = answer
    with core.write() as tx:
        tx.wake_worker()
    assert _is_kept(core, "answered")


def test_r19_a_doorbell_that_fails_harms_nothing_and_is_logged(core: Core) -> None:
    def broken() -> None:
        raise ConnectionError("no queue")

    core.doorbell = broken
    with capture_logs() as lines, core.write() as tx:
        _finish(tx)
        tx.wake_worker()
    assert _is_kept(core)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("doorbell failed", "warning")
    assert line["exc_info"]


def test_a_doorbell_that_fails_does_not_hide_the_error_of_the_use_case(core: Core) -> None:
    def broken() -> None:
        raise ConnectionError("no queue")

    core.doorbell = broken
    with capture_logs(), pytest.raises(InvalidCredentials), core.write() as tx:
        tx.wake_worker()
        raise KeepWrites(InvalidCredentials())


# -- the audit


def test_an_audit_entry_holds_who_did_what_to_whom(core: Core, clock: MovedClock) -> None:
    user, target = uuid4(), uuid4()
    actor = Actor("user", user_id=user, name="ada", ip="192.0.2.7", request_id="request-1", user_agent="x")
    with core.write() as tx:
        tx.audit(actor, "role.changed", target=target, outcome="LAST_ADMIN", old="admin", new=["user", 1])
    with core.read() as tx:
        [entry] = entries_of(tx, target)
    assert entry.id.version == 7
    assert (entry.at, entry.actor_kind, entry.actor_id, entry.actor_name) == (
        clock.now(),
        "user",
        user,
        "ada",
    )
    assert (entry.action, entry.target_id, entry.outcome) == ("role.changed", target, "LAST_ADMIN")
    assert (entry.ip, entry.request_id) == ("192.0.2.7", "request-1")
    assert entry.detail == {"old": "admin", "new": ["user", 1]}


def test_an_audit_entry_of_a_job_is_plain(core: Core) -> None:
    target = uuid4()
    with core.write() as tx:
        tx.audit(Actor.job("purge"), "test.purged", target=target)
    with core.read() as tx:
        [entry] = entries_of(tx, target)
    assert (entry.actor_kind, entry.actor_id, entry.actor_name, entry.ip) == ("job", None, "purge", None)
    assert (entry.outcome, entry.detail, entry.request_id) == ("ok", {}, None)


def test_entries_of_one_transaction_sort_as_they_were_written(core: Core) -> None:
    target = uuid4()
    with core.write() as tx:
        for number in range(20):
            tx.audit(Actor.job("purge"), f"test.n{number}", target=target)
    with core.read() as tx:
        ids = [entry.id for entry in entries_of(tx, target)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 20


def test_r11_an_audit_entry_goes_with_the_transaction_that_made_it(core: Core) -> None:
    target = uuid4()
    with pytest.raises(InvalidCredentials), core.write() as tx:
        tx.audit(Actor.job("purge"), "test.purged", target=target)
        raise InvalidCredentials
    with core.read() as tx:
        assert entries_of(tx, target) == []


# -- the key ring


def test_without_a_ring_no_token_is_made(core: Core) -> None:
    closed = build(core.settings)
    with pytest.raises(RuntimeError, match="open_ring"):
        _ = closed.key_ring
    with pytest.raises(RuntimeError, match="open_ring"):
        _ = closed.tokens
    closed.close()


def test_another_ring_makes_other_tokens(core: Core, make_core: Make) -> None:
    before = core.tokens
    assert core.tokens is before
    core.key_ring = make_core().key_ring
    assert core.tokens is not before
