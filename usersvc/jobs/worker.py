"""Huey's consumer as a thread: inside `usersvc serve`, or alone in `usersvc worker`."""

import os
import signal
import socket
import threading
import time

from huey.api import Huey
from huey.consumer import Consumer

from usersvc import logs
from usersvc.core import Core
from usersvc.errors import NoDatabase, SchemaOutdated
from usersvc.jobs.doorbell import Doorbell
from usersvc.jobs.queue import usable
from usersvc.jobs.tasks import register
from usersvc.services import schema

# Longer than one mail may take, so that a stop interrupts none.
STOP_SECONDS = 35
_IDLE_POLL_SECONDS = 0.5

_log = logs.get("usersvc.worker")


class _Consumer(Consumer):
    def _set_signal_handlers(self) -> None:
        """Signals belong to the process that the consumer is a part of."""


class Worker:
    """Mail and periodic jobs of one process, on `threads` threads; two, so that a purge holds up no mail."""

    def __init__(self, core: Core, queue: Huey, *, threads: int = 2) -> None:
        self._core = core
        self._stopping = threading.Event()
        owner = f"{socket.gethostname()[:40]}:{os.getpid()}"
        self._tasks = register(queue, core, owner=owner, stopping=self._stopping.is_set)
        self._consumer = _Consumer(
            queue,
            workers=threads,
            periodic=True,
            max_delay=_IDLE_POLL_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        self._thread = threading.Thread(target=self._consumer.run, name="worker", daemon=True)
        self._doorbell = Doorbell(self._tasks.deliver_outbox)

    def wake(self) -> None:
        """Something is in the outbox."""
        self._doorbell.ring()

    def start(self) -> None:
        """Raises DatabaseUnavailable where the queue cannot be used; nothing runs then."""
        # What became due while no worker ran is done first.
        with usable(self._core.settings.queue_path):
            self._tasks.deliver_outbox()
            self._tasks.catch_up()
        self._thread.start()
        _log.info("worker started")

    def stop(self) -> None:
        """Finish the mail in hand and stop; returns after STOP_SECONDS at the latest."""
        self._stopping.set()
        self._consumer.stop(graceful=True)
        self._thread.join(timeout=5)
        _log.info("worker stopped")


def stop_signal() -> threading.Event:
    """Set by SIGTERM or SIGINT from now on. Main thread only."""
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    return stop


def run_until(stop: threading.Event, worker: Worker) -> None:
    worker.start()
    # A wait without an end cannot be interrupted on Windows.
    while not stop.wait(timeout=1):
        pass
    worker.stop()


def wait_for_database(core: Core, stop: threading.Event, *, seconds: float = 60) -> None:
    """Wait for whoever makes or migrates the database. Raises what is wrong when the time is over."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            schema.require_current(core)
            return
        except (NoDatabase, SchemaOutdated) as error:
            if stop.is_set() or time.monotonic() >= deadline:
                raise
            if not told:
                _log.info("waiting for the database", reason=str(error))
                told = True
            stop.wait(0.5)
