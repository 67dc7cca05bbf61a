"""Slots of periodic jobs: each is worked once, whoever wakes up for it."""

import threading
from datetime import UTC, datetime, timedelta

from tests.conftest import Make
from usersvc.core import Core

SLOT = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _claim(core: Core, slot: datetime, name: str = "purge") -> bool:
    with core.write(wait=60) as tx:
        return tx.jobs.claim_slot(name, slot)


def test_r32_of_many_that_wake_up_for_a_slot_one_gets_it(make_core: Make) -> None:
    """In threads, and through two databases as from two processes; also where the job never ran."""
    cores = [make_core(), make_core()]
    for slot in (SLOT, SLOT + HOUR):
        together = threading.Barrier(8, timeout=60)
        wins: list[bool] = []

        def claim(mine: Core, slot: datetime, together: threading.Barrier, wins: list[bool]) -> None:
            together.wait()
            wins.append(_claim(mine, slot))

        threads = [
            threading.Thread(target=claim, args=(cores[number % 2], slot, together, wins))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins) == [False] * 7 + [True]


def test_a_slot_before_one_that_was_claimed_is_over(core: Core) -> None:
    assert _claim(core, SLOT)
    assert not _claim(core, SLOT - HOUR)
    assert not _claim(core, SLOT)
    assert _claim(core, SLOT + HOUR)


def test_jobs_do_not_take_each_others_slots(core: Core) -> None:
    assert _claim(core, SLOT, "purge")
    assert _claim(core, SLOT, "sweep")


def test_a_slot_claimed_in_a_transaction_that_fails_is_free_again(core: Core) -> None:
    try:
        with core.write() as tx:
            assert tx.jobs.claim_slot("purge", SLOT)
            raise RuntimeError
    except RuntimeError:
        pass
    assert _claim(core, SLOT)


def test_a_job_that_finished_says_when_and_what_and_keeps_its_slot(core: Core) -> None:
    with core.read() as tx:
        assert tx.jobs.by_name("purge") is None
    assert _claim(core, SLOT)
    with core.write() as tx:
        tx.jobs.finish("purge", at=SLOT + HOUR, counts={"sessions": 3})
        tx.jobs.finish("purge", at=SLOT + 2 * HOUR, counts={"sessions": 4})
    with core.read() as tx:
        job = tx.jobs.by_name("purge")
    assert job
    assert (job.name, job.last_slot, job.finished_at) == ("purge", SLOT, SLOT + 2 * HOUR)
    assert job.counts == {"sessions": 4}


def test_a_job_run_by_hand_before_any_slot_leaves_every_slot_free(core: Core) -> None:
    with core.write() as tx:
        tx.jobs.finish("purge", at=SLOT, counts={})
    assert _claim(core, SLOT - HOUR)


def test_r20_a_slot_that_a_wrong_clock_claimed_stops_no_job(core: Core) -> None:
    slot = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    with core.write() as tx:
        assert tx.jobs.claim_slot("purge", slot + timedelta(days=400))
        assert tx.jobs.claim_slot("purge", slot)
        assert not tx.jobs.claim_slot("purge", slot)
        assert tx.jobs.claim_slot("purge", slot + timedelta(hours=1))
        assert not tx.jobs.claim_slot("purge", slot)
