"""Rings the worker's queue from a thread of its own, so that no request ever waits for the queue."""

import threading
import time
from collections.abc import Callable

from usersvc import logs
from usersvc.errors import DatabaseUnavailable

# A queue that could not be rung is left alone for so long, whoever rings.
_PAUSE_SECONDS = 5

_log = logs.get("usersvc.doorbell")


class Doorbell:
    """Several rings while one is on its way become one; a worker looks for all that is due anyway."""

    def __init__(self, enqueue: Callable[[], object], *, pause: float = _PAUSE_SECONDS) -> None:
        self._enqueue = enqueue
        self._pause = pause
        self._rung = threading.Event()
        threading.Thread(target=self._run, name="doorbell", daemon=True).start()

    def ring(self) -> None:
        self._rung.set()

    def _run(self) -> None:
        while self._rung.wait():
            self._rung.clear()
            try:
                self._enqueue()
            except DatabaseUnavailable:
                # The queue has told. Rung again later: the mail need not wait for the sweep then.
                self._rung.set()
                time.sleep(self._pause)
            except Exception:
                _log.warning("doorbell failed", exc_info=True)
                time.sleep(self._pause)
