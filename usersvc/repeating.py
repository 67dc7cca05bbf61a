"""What a process does again and again, beside its requests and its mail."""

import threading
from collections.abc import Callable
from datetime import timedelta

from usersvc import logs
from usersvc.errors import DomainError

_log = logs.get("usersvc.repeating")


class Repeating:
    """A thread of its own; it may wait for a database that is away, and nobody for it."""

    def __init__(self, do: Callable[[], object], *, every: timedelta, name: str) -> None:
        self._do = do
        self._every = every
        self._name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, *, wait_seconds: float = 1) -> None:
        self._ended.set()
        self._thread.join(wait_seconds)

    def _repeat(self) -> None:
        failing = False
        while not self._ended.wait(self._every.total_seconds()):
            try:
                self._do()
                failing = False
            except DomainError as error:
                # Once, however long it lasts: a database that is away is told of by everything else too.
                if not failing:
                    _log.warning("put off", what=self._name, reason=str(error))
                failing = True
            except Exception:
                # A bug in one look must not be the end of all looks.
                _log.exception("failed", what=self._name)
