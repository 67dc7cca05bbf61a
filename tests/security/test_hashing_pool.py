"""The bounds of the hashing pool: who waits, who is told to come again, and that nothing leaks."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, get_args

import pytest

from usersvc.errors import Kind, Overloaded
from usersvc.security.hashing_pool import HashingPool, Observer, Turn


class Gate:
    """Jobs that run until the gate is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._started = threading.Semaphore(0)
        self.running = 0
        self.most = 0
        self.begun = 0
        self._lock = threading.Lock()

    def job(self) -> str:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self._started.release()
        self._open.wait(10)
        with self._lock:
            self.running -= 1
        return "done"

    def open(self) -> None:
        self._open.set()

    def wait_for(self, jobs: int) -> None:
        for _ in range(jobs):
            assert self._started.acquire(timeout=10)


class Callers:
    """Threads that call a pool, and the pools themselves, all ended with the test."""

    def __init__(self) -> None:
        self.gate = Gate()
        self._executor = ThreadPoolExecutor(32)
        self._pools: list[HashingPool] = []

    def pool(self, **bounds: Any) -> HashingPool:
        pool = HashingPool(**{"threads": 1, "deadline": 10.0, **bounds})
        self._pools.append(pool)
        return pool

    def call(
        self,
        pool: HashingPool,
        *,
        client: str | None = None,
        turn: Turn = "ordinary",
        job: Callable[[], str] | None = None,
    ) -> Future[str]:
        """Call with a job, of the gate unless another is given, and come back when the pool has let it in."""
        before = inside(pool)
        future = self._executor.submit(pool.run, job or self.gate.job, client=client, turn=turn)
        while inside(pool) == before and not future.done():
            threading.Event().wait(0.001)
        return future

    def close(self) -> None:
        self.gate.open()
        self._executor.shutdown()
        for pool in self._pools:
            pool.close()


def inside(pool: HashingPool) -> int:
    return pool._clients.total()


def never() -> None:
    pytest.fail("this job was not to run")


@pytest.fixture
def callers() -> Iterator[Callers]:
    found = Callers()
    yield found
    found.close()


def test_the_result_of_a_job_comes_back(callers: Callers) -> None:
    assert callers.pool().run(lambda: 7, client="192.0.2.1") == 7


def test_who_hashes_steps_back_for_who_asks(callers: Callers) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert callers.pool().run(niceness) > niceness()


def test_no_more_jobs_run_at_once_than_there_are_threads(callers: Callers) -> None:
    pool = callers.pool(threads=2, queue=6)
    futures = [callers.call(pool) for _ in range(8)]
    callers.gate.wait_for(2)
    assert callers.gate.begun == 2
    callers.gate.open()
    assert [future.result(10) for future in futures] == ["done"] * 8
    assert callers.gate.most == 2


def test_a_full_queue_refuses_at_once_and_runs_nothing(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=2)
    futures = [callers.call(pool) for _ in range(3)]
    with pytest.raises(Overloaded) as caught:
        pool.run(never)
    assert caught.value.kind is Kind.UNAVAILABLE
    callers.gate.open()
    assert [future.result(10) for future in futures] == ["done"] * 3
    assert pool.run(lambda: "again") == "again"


def test_a_client_has_no_more_than_its_share_and_others_are_served(callers: Callers) -> None:
    pool = callers.pool(threads=2)
    futures = [callers.call(pool, client="192.0.2.1") for _ in range(2)]
    callers.gate.wait_for(2)
    with pytest.raises(Overloaded):
        pool.run(never, client="192.0.2.1")
    futures.append(callers.call(pool, client="192.0.2.2"))
    assert inside(pool) == 3
    callers.gate.open()
    assert [future.result(10) for future in futures] == ["done"] * 3
    assert pool.run(lambda: "again", client="192.0.2.1") == "again"


def test_jobs_of_nobody_have_no_share_but_the_queue(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=4)
    futures = [callers.call(pool) for _ in range(5)]
    assert inside(pool) == 5
    with pytest.raises(Overloaded):
        pool.run(never)
    callers.gate.open()
    assert [future.result(10) for future in futures] == ["done"] * 5


def test_a_client_without_a_name_is_not_refused_for_jobs_of_nobody(callers: Callers) -> None:
    pool = callers.pool(threads=3)
    for _ in range(2):
        callers.call(pool)
    callers.gate.wait_for(2)
    assert pool.run(lambda: "served", client="") == "served"


def test_sign_ups_leave_half_of_the_queue_to_others(callers: Callers) -> None:
    pool = callers.pool(threads=2, queue=6)
    sign_ups = [callers.call(pool, turn="sign_up") for _ in range(4)]
    with pytest.raises(Overloaded):
        pool.run(never, turn="sign_up")
    logins = [callers.call(pool) for _ in range(4)]
    assert inside(pool) == 8
    callers.gate.open()
    assert [future.result(10) for future in sign_ups + logins] == ["done"] * 8
    assert pool.run(lambda: "again", turn="sign_up") == "again"


def test_logins_may_take_the_half_that_sign_ups_do_not_use(callers: Callers) -> None:
    pool = callers.pool(threads=2, queue=6)
    logins = [callers.call(pool) for _ in range(8)]
    with pytest.raises(Overloaded):
        pool.run(never, turn="sign_up")
    callers.gate.open()
    assert [future.result(10) for future in logins] == ["done"] * 8


def test_who_has_logged_in_before_goes_first_and_the_rest_in_their_order(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=6)
    running = callers.call(pool)
    order: list[str] = []

    def told(name: str) -> Callable[[], str]:
        return lambda: order.append(name) or name

    turns: list[tuple[str, Turn]] = [
        ("stranger", "ordinary"),
        ("sign-up", "sign_up"),
        ("second stranger", "ordinary"),
        ("known", "first"),
        ("second known", "first"),
    ]
    waiting = []
    for name, turn in turns:
        waiting.append(callers.call(pool, turn=turn, job=told(name)))
        while pool.waiting < len(waiting):
            threading.Event().wait(0.001)
    callers.gate.open()
    assert running.result(10) == "done"
    for future in waiting:
        future.result(10)
    assert order == ["known", "second known", "stranger", "sign-up", "second stranger"]


def test_who_has_logged_in_before_gets_in_and_goes_first_while_strangers_keep_the_queue_full(
    callers: Callers,
) -> None:
    pool = callers.pool(threads=1, queue=3)
    order: list[str] = []
    running = callers.call(pool)
    callers.gate.wait_for(1)

    def told(name: str) -> Callable[[], str]:
        return lambda: order.append(name) or name

    strangers = [callers.call(pool, job=told("stranger")) for _ in range(3)]
    known = []
    for number in (1, 2):
        with pytest.raises(Overloaded):
            pool.run(never)
        pool.require_room(f"192.0.2.{number}", "first")
        known.append(callers.call(pool, client=f"192.0.2.{number}", turn="first", job=told("known")))
    for turn in get_args(Turn):
        with pytest.raises(Overloaded):
            pool.run(never, turn=turn)
    assert inside(pool) == pool.places == 6
    while pool.waiting < 5:
        threading.Event().wait(0.001)
    callers.gate.open()
    assert [future.result(10) for future in known] == ["known"] * 2
    for future in (running, *strangers):
        future.result(10)
    assert order == ["known"] * 2 + ["stranger"] * 3


def test_asking_for_room_refuses_whom_the_pool_would_and_keeps_no_place(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=3, per_client=1)
    callers.call(pool, client="192.0.2.1", turn="sign_up")
    callers.call(pool, turn="sign_up")
    whose: list[tuple[str | None, Turn]] = [("192.0.2.1", "first"), (None, "sign_up")]
    for client, turn in whose:
        with pytest.raises(Overloaded) as caught:
            pool.require_room(client, turn)
        assert caught.value.retry_after
    for _ in range(10):
        pool.require_room("192.0.2.2", "ordinary")
    assert inside(pool) == 2


def test_after_the_deadline_a_waiting_job_is_dropped_unhashed(callers: Callers) -> None:
    pool = callers.pool(threads=1, deadline=0.05)
    running = callers.call(pool)
    callers.gate.wait_for(1)
    ran = []
    with pytest.raises(Overloaded):
        pool.run(lambda: ran.append("late"), client="192.0.2.1")
    assert inside(pool) == 1
    callers.gate.open()
    assert running.result(10) == "done"
    assert pool.run(lambda: "next", client="192.0.2.1") == "next"
    assert ran == []


def test_a_job_that_has_begun_is_waited_for_beyond_the_deadline(callers: Callers) -> None:
    pool = callers.pool(threads=1, deadline=0.02)
    threading.Timer(0.15, callers.gate.open).start()
    assert pool.run(callers.gate.job) == "done"


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("its own"), Overloaded("its own")])
def test_what_a_job_raises_passes_through(callers: Callers, error: Exception) -> None:
    pool = callers.pool()

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        pool.run(fail, client="192.0.2.1")
    assert caught.value is error
    assert inside(pool) == 0
    assert pool.run(lambda: "next") == "next"


def test_a_refusal_says_after_how_many_seconds_at_least_one_to_come_again(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=0)
    callers.call(pool)
    with pytest.raises(Overloaded) as caught:
        pool.run(never)
    assert caught.value.retry_after == 1


def test_the_more_are_waiting_the_later_one_shall_come_again(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=15)
    for _ in range(16):
        callers.call(pool)
    with pytest.raises(Overloaded) as caught:
        pool.run(never)
    assert isinstance(caught.value.retry_after, int)
    assert 2 <= caught.value.retry_after <= 16


def test_jobs_that_were_fast_make_the_wait_no_shorter_than_a_second(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=0)
    for _ in range(50):
        pool.run(lambda: None)
    callers.call(pool)
    with pytest.raises(Overloaded) as caught:
        pool.run(never)
    assert caught.value.retry_after == 1


def _served(pool: HashingPool, client: str) -> None:
    pool.run(lambda: None, client=client)


def _broken(pool: HashingPool, client: str) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 / 0, client=client)


@pytest.mark.parametrize("use", [_served, _broken])
def test_nothing_is_left_behind_by_many_runs(
    callers: Callers, use: Callable[[HashingPool, str], None]
) -> None:
    pool = callers.pool(threads=1, queue=1)
    for number in range(300):
        use(pool, f"192.0.2.{number}")
    assert inside(pool) == 0
    assert len(pool._clients) == 0
    assert [callers.call(pool, client="192.0.2.1").done() for _ in range(2)] == [False, False]


def test_nothing_is_left_behind_by_refusals(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=1, per_client=1, deadline=0.01)
    running = callers.call(pool, client="192.0.2.1")
    callers.gate.wait_for(1)
    for number in range(10):
        with pytest.raises(Overloaded):
            pool.run(never, client="192.0.2.1")
        with pytest.raises(Overloaded):
            pool.run(never, client=f"198.51.100.{number}")
    callers.gate.open()
    assert running.result(10) == "done"
    assert len(pool._clients) == 0
    assert pool.run(lambda: "next", client="198.51.100.1") == "next"


def test_closing_waits_for_the_job_that_runs(callers: Callers) -> None:
    pool = callers.pool(threads=1)
    running = callers.call(pool)
    callers.gate.wait_for(1)
    threading.Timer(0.05, callers.gate.open).start()
    pool.close()
    assert callers.gate.running == 0
    assert running.result(10) == "done"


def test_closing_tells_those_who_wait_to_come_again(callers: Callers) -> None:
    pool = callers.pool(threads=1)
    callers.call(pool)
    callers.gate.wait_for(1)
    waiting = callers.call(pool)
    threading.Timer(0.05, callers.gate.open).start()
    pool.close()
    with pytest.raises(Overloaded):
        waiting.result(10)


class Watching(Observer):
    def __init__(self) -> None:
        self.queue = (0, 0)
        self.waits: list[float] = []
        self.refused = 0

    def queue_changed(self, *, waiting: int, running: int) -> None:
        self.queue = (waiting, running)

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def turned_away(self) -> None:
        self.refused += 1


def test_the_observer_hears_who_waits_runs_and_is_turned_away(callers: Callers) -> None:
    pool = callers.pool(threads=1, queue=2, per_client=1)
    pool.observer = seen = Watching()
    running = callers.call(pool, client="192.0.2.1")
    callers.gate.wait_for(1)
    waiting = [callers.call(pool) for _ in range(2)]
    while pool.waiting < 2:
        threading.Event().wait(0.001)
    assert seen.queue == (2, 1)
    for client in ("192.0.2.1", "192.0.2.2"):
        with pytest.raises(Overloaded):
            pool.run(never, client=client)
    assert seen.refused == 2
    callers.gate.open()
    assert [future.result(10) for future in (running, *waiting)] == ["done"] * 3
    assert seen.queue == (0, 0)
    assert len(seen.waits) == 3
    assert min(seen.waits) >= 0


def test_the_observer_hears_of_those_whom_the_deadline_sends_away(callers: Callers) -> None:
    pool = callers.pool(threads=1, deadline=0.02)
    pool.observer = seen = Watching()
    callers.call(pool)
    callers.gate.wait_for(1)
    with pytest.raises(Overloaded):
        pool.run(never)
    assert (seen.queue, seen.refused, len(seen.waits)) == ((0, 1), 1, 1)


def test_the_observer_hears_of_those_whom_closing_sends_away(callers: Callers) -> None:
    pool = callers.pool(threads=1)
    pool.observer = seen = Watching()
    callers.call(pool)
    callers.gate.wait_for(1)
    waiting = callers.call(pool)
    while pool.waiting < 1:
        threading.Event().wait(0.001)
    threading.Timer(0.05, callers.gate.open).start()
    pool.close()
    with pytest.raises(Overloaded):
        waiting.result(10)
    assert (seen.queue, seen.refused) == ((0, 0), 1)
