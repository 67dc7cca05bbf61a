"""A look now and then, beside the requests, at what only workers do."""

import threading
from datetime import timedelta

from usersvc import logs
from usersvc.core import Core
from usersvc.errors import DomainError
from usersvc.services import watching

_log = logs.get("usersvc.watching")


class Watch:
    """A thread of its own; it may wait for a database that is away, and nobody for it."""

    def __init__(self, core: Core, *, every: timedelta = watching.PERIOD) -> None:
        self._core = core
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, *, wait_seconds: float = 1) -> None:
        self._ended.set()
        self._thread.join(wait_seconds)

    def _look(self) -> None:
        while not self._ended.wait(self._every.total_seconds()):
            try:
                watching.warn(self._core)
            except DomainError as error:
                _log.warning("cannot look for a worker", reason=str(error))
