"""Huey's consumer as a thread: inside `usersvc serve`, or alone in `usersvc worker`."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from huey.api import Huey, Task
from huey.consumer import Consumer, Scheduler

from usersvc import logs
from usersvc.core import Core
from usersvc.errors import DatabaseUnavailable, NoDatabase, SchemaOutdated
from usersvc.jobs.doorbell import Doorbell
from usersvc.jobs.tasks import register
from usersvc.repeating import Repeating
from usersvc.services import keys, schema
from usersvc.stopping import Stop, end_at_once

# Longer than one mail may take, so that a stop interrupts none.
STOP_SECONDS = 35
_IDLE_POLL_SECONDS = 0.5
_LOOK_SECONDS = 0.2
_JOIN_SECONDS = 5

_log = logs.get("usersvc.worker")


class _Scheduler(Scheduler):
    """Does itself what no worker can be handed: a queue that is away costs promptness alone."""

    def __init__(self, *given: Any, first: Task) -> None:
        super().__init__(*given)
        self._first = first

    def initialize(self) -> None:
        self._hand_over(self._first)

    def enqueue_periodic_tasks(self, now: datetime | None) -> None:
        for task in self.huey.read_periodic(now):
            self._hand_over(task)

    def _hand_over(self, task: Task) -> None:
        try:
            self.huey.enqueue(task)
        except DatabaseUnavailable:
            self._do(task)

    def _do(self, task: Task) -> None:
        try:
            task.execute()
        except Exception:
            # A bug in one task must not stop the clock of the others; Huey's workers do the same.
            _log.exception("task failed", task=task.name)


class _Consumer(Consumer):
    def __init__(self, queue: Huey, *, first: Task, **options: Any) -> None:
        self._first = first
        super().__init__(queue, **options)

    def _create_scheduler(self) -> Scheduler:
        given = (self.huey, self.stop_flag, self.scheduler_interval, self.periodic)
        return _Scheduler(*given, first=self._first)

    def _set_signal_handlers(self) -> None:
        """Signals belong to the process that the consumer is a part of."""


class Worker:
    """Mail and periodic jobs of one process, on `threads` threads; two, so that a purge holds up no mail."""

    def __init__(self, core: Core, queue: Huey, *, threads: int = 2) -> None:
        self._core = core
        self._stopping = threading.Event()
        self._queue = queue
        # In each of its threads, as it ends: PostgreSQL has a connection for each.
        queue.on_shutdown(name="close")(queue.storage.close)
        owner = f"{socket.gethostname()[:40]}:{os.getpid()}"
        self._tasks = register(queue, core, owner=owner, stopping=self._stopping.is_set)
        self._consumer = _Consumer(
            queue,
            first=self._tasks.catch_up.s(),
            workers=threads,
            periodic=True,
            max_delay=_IDLE_POLL_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        self._thread = threading.Thread(target=self._consumer.run, name="worker", daemon=True)
        self._doorbell = Doorbell(self._tasks.deliver_outbox)
        self._keys = Repeating(
            partial(keys.follow, core), every=keys.FOLLOWED_EVERY, name="keys of the worker"
        )

    def wake(self) -> None:
        """Something is in the outbox."""
        self._doorbell.ring()

    def start(self) -> None:
        """Raises DatabaseUnavailable where the queue's file cannot be used; nothing runs then.

        A server may come later. Until then the mails of each minute are sent at its end.
        """
        try:
            # What became due while no worker ran is done first.
            self._tasks.deliver_outbox()
        except DatabaseUnavailable:
            if not self._core.settings.queue_url:
                raise
        self._thread.start()
        self._keys.start()
        _log.info("worker started")

    def stop(self) -> bool:
        """Finish the mail in hand and claim no other; whether that was done within STOP_SECONDS."""
        self._stopping.set()
        self._keys.end()
        self._consumer.stop_flag.set()
        # Its own thread starts the others: before it has ended they may not even have begun.
        self._thread.join(timeout=_JOIN_SECONDS)
        self._consumer.stop(graceful=True)
        threads = [self._consumer.scheduler, *(thread for _, thread in self._consumer.worker_threads)]
        finished = not any(thread.is_alive() for thread in threads)
        if finished:
            self._queue.storage.close()
            _log.info("worker stopped")
        else:
            _log.warning("worker cut off: what it had in hand is done again", after_seconds=STOP_SECONDS)
        return finished


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    """The worker, from its start to its stop. What cannot be finished in time ends with the process."""
    worker.start()
    try:
        yield
    finally:
        finished = worker.stop()
    if not finished:
        # A thread that still works would meet a closed database.
        end_at_once()


def run_until(stop: Stop, worker: Worker) -> None:
    with running(worker):
        while not stop.asked:
            time.sleep(_LOOK_SECONDS)


def wait_for_database(core: Core, stop: Stop, *, seconds: float = 60) -> bool:
    """Wait for whoever makes or migrates the database; whether it is there, False where `stop` was asked.

    Raises what is wrong when the time is over.
    """
    deadline = time.monotonic() + seconds
    told = False
    while not stop.asked:
        try:
            schema.require_current(core)
            return True
        except (NoDatabase, SchemaOutdated) as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                _log.info("waiting for the database", reason=str(error))
                told = True
            time.sleep(_LOOK_SECONDS)
    return False
