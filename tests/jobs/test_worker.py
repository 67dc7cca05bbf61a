"""A real Huey consumer on threads: wake-ups, the clock, a clean stop."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from huey.api import crontab

from tests.database import locked
from tests.factories import EMAIL, PASSWORD, STRANGER, active, delivered
from tests.processes import PATIENCE_SECONDS, eventually
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import DatabaseUnavailable, NoDatabase, SchemaOutdated
from usersvc.jobs.queue import make_queue
from usersvc.jobs.tasks import latest_slot, register
from usersvc.jobs.worker import Worker, wait_for_database
from usersvc.mail.transports import MemoryTransport
from usersvc.services import maintenance, registration
from usersvc.stopping import Stop


def test_the_doorbell_wakes_the_worker(core: Core, transport: MemoryTransport) -> None:
    worker = Worker(core, make_queue(core.settings))
    core.doorbell = worker.wake
    worker.start()
    try:
        registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
        eventually(lambda: transport.sent)
    finally:
        worker.stop()


def test_at_its_start_a_worker_sends_what_waits_and_purges_what_it_missed(
    core: Core, transport: MemoryTransport
) -> None:
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    worker = Worker(core, make_queue(core.settings))
    worker.start()
    try:
        eventually(lambda: transport.sent)
        eventually(lambda: maintenance.last_slot(core))
    finally:
        worker.stop()
    slot = maintenance.last_slot(core)
    assert slot is not None
    assert slot.minute == 0
    assert slot <= core.clock.now() < slot + timedelta(hours=1)


def test_a_stop_lets_the_mail_in_hand_be_finished_and_leaves_the_rest(core: Core) -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow(MemoryTransport):
        def send(self, message):
            started.set()
            go_on.wait(PATIENCE_SECONDS)
            return super().send(message)

    core.transport = slow = Slow()
    for name in ("ada", "bob"):
        registration.register(core, email=f"{name}@example.org", password=PASSWORD, actor=STRANGER)
    worker = Worker(core, make_queue(core.settings), threads=1)
    worker.start()
    assert started.wait(PATIENCE_SECONDS)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    time.sleep(0.2)
    assert stopping.is_alive()
    go_on.set()
    stopping.join(PATIENCE_SECONDS)
    assert not stopping.is_alive()
    assert len(slow.sent) == 1
    assert len(delivered(core)) == 2  # the one that was finished, and the other one now


def test_a_worker_that_is_stopped_at_once_has_begun_nothing_that_goes_on(core: Core) -> None:
    for _ in range(5):
        worker = Worker(core, make_queue(core.settings))
        worker.start()
        assert worker.stop()


@pytest.mark.parametrize("queue_values", ["file"], indirect=True)
def test_a_file_that_broke_is_told_with_the_remedy_and_nothing_runs(core: Core) -> None:
    worker = Worker(core, make_queue(core.settings))
    core.settings.queue_path.write_bytes(b"no queue" * 5000)
    with pytest.raises(DatabaseUnavailable, match="delete it"):
        worker.start()
    assert not worker._thread.is_alive()


def test_a_task_that_fails_stops_nothing(core: Core, transport: MemoryTransport) -> None:
    worker = Worker(core, make_queue(core.settings))
    core.doorbell = worker.wake
    database, core.database = core.database, None  # type: ignore[assignment]
    worker.start()
    try:
        time.sleep(0.5)
        core.database = database
        registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
        eventually(lambda: transport.sent)
    finally:
        worker.stop()


def test_r32_of_several_workers_one_purges_each_slot(core: Core, clock: MovedClock) -> None:
    slot = clock.now().replace(second=0, microsecond=0)
    together, done = threading.Barrier(8), []

    def claim() -> None:
        together.wait()
        done.append(maintenance.purge_slot(core, slot, actor=STRANGER))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([counts for counts in done if counts is not None]) == 1


def test_what_expired_is_purged_when_the_clock_says_so(core: Core, clock: MovedClock) -> None:
    active(core)
    clock.move(days=2)
    tasks = register(make_queue(core.settings), core, owner="test")
    tasks.catch_up.call_local()  # type: ignore[attr-defined]
    with core.read() as tx:
        assert tx.link_tokens.count_done_before(clock.now()) == 0
        job = tx.jobs.by_name(maintenance.JOB)
    assert job
    assert job.counts["links"] == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 * * * *", datetime(2026, 3, 10, 14, 0, tzinfo=UTC)),
        ("* * * * *", datetime(2026, 3, 10, 14, 37, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 3, 10, 14, 30, tzinfo=UTC)),
        ("0 3 * * *", datetime(2026, 3, 10, 3, 0, tzinfo=UTC)),
        ("30 23 * * *", datetime(2026, 3, 9, 23, 30, tzinfo=UTC)),
        ("0 0 1 * *", datetime(2026, 3, 1, 0, 0, tzinfo=UTC)),
        ("0 0 30 2 *", None),
    ],
)
def test_the_latest_slot_of_a_schedule_is_found(schedule: str, expected: datetime | None) -> None:
    now = datetime(2026, 3, 10, 14, 37, 12, 5, tzinfo=UTC)
    matches = crontab(*schedule.split(), strict=True)
    assert latest_slot(matches, now, look_back=timedelta(days=32)) == expected


@pytest.mark.parametrize("queue_values", ["file", "all in postgresql"], indirect=True)
def test_what_cannot_be_done_now_is_one_line_and_done_a_minute_later(
    core: Core, clock: MovedClock, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    queue = make_queue(core.settings)
    register(queue, core, owner="test")
    clock.move(minutes=1)
    each_minute = queue.read_periodic(clock.now().replace(tzinfo=None))
    assert {task.name for task in each_minute} == {"sweep_outbox", "sweep_webhooks", "purge_expired"}

    def done() -> list[str]:
        caplog.clear()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda task: task.execute(), each_minute))
        return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]

    with locked(core):
        assert done() == ["task put off"] * 2
    assert transport.sent == []
    assert maintenance.last_slot(core) is None
    assert "task put off" not in done()
    assert len(transport.sent) == 1
    assert maintenance.last_slot(core)
    queue.storage.close()


@pytest.mark.parametrize("queue_values", ["file"], indirect=True)
def test_waiting_for_a_database_ends_with_what_is_wrong(core: Core) -> None:
    stop = Stop()
    assert wait_for_database(core, stop, seconds=0)
    with core.write() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaOutdated):
        wait_for_database(core, stop, seconds=0.1)
    core.close()
    core.database.path.unlink()
    with pytest.raises(NoDatabase):
        wait_for_database(core, stop, seconds=0.1)
    stop.hear(signal.SIGTERM)
    assert not wait_for_database(core, stop, seconds=60)
