"""Rings the worker's queue from a thread of its own, so that no request ever waits for the queue."""

import threading
from collections.abc import Callable

from usersvc import logs

_log = logs.get("usersvc.doorbell")


class Doorbell:
    """Several rings while one is on its way become one; a worker looks for all that is due anyway."""

    def __init__(self, enqueue: Callable[[], object]) -> None:
        self._enqueue = enqueue
        self._rung = threading.Event()
        threading.Thread(target=self._run, name="doorbell", daemon=True).start()

    def ring(self) -> None:
        self._rung.set()

    def _run(self) -> None:
        while self._rung.wait():
            self._rung.clear()
            # A queue that cannot be rung only makes the mail wait for the sweep of the next minute.
            try:
                self._enqueue()
            except Exception:
                _log.warning("doorbell failed", exc_info=True)
