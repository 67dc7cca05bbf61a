"""Threads for bcrypt and nothing else, with a short queue.

bcrypt holds a core for a quarter of a second, so more threads than cores only make everybody wait.
Who cannot be served within the deadline is told so at once, instead of queueing without end.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

from usersvc.errors import Overloaded

Result = TypeVar("Result")


class HashingPool:
    """At most `threads` jobs run and `queue` more wait, `per_client` of them from one client."""

    def __init__(self, *, threads: int, queue: int = 16, per_client: int = 2, deadline: float = 3.0) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing")
        self._threads = threads
        self._most = threads + queue
        self._per_client = per_client
        self._deadline = deadline
        self._lock = threading.Lock()
        self._clients: Counter[str | None] = Counter()
        self._seconds = 0.25  # of a job, a moving average; only for Retry-After

    def run(self, job: Callable[[], Result], *, client: str | None = None) -> Result:
        """Run `job` on the pool and wait. `client` names whose job it is (a network); None has no bound.

        Raises Overloaded where the queue or the client's share is full, or where no thread became
        free within the deadline; the job has then not run. A job that began is waited for.
        """
        self._enter(client)
        try:
            future = self._executor.submit(self._timed, job)
            return self._wait(future)
        finally:
            self._leave(client)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _wait(self, future: Future[Result]) -> Result:
        try:
            return future.result(timeout=self._deadline)
        except CancelledError:  # The process stops.
            raise self._overloaded() from None
        except TimeoutError:
            if future.cancel():
                raise self._overloaded() from None
            return future.result()

    def _timed(self, job: Callable[[], Result]) -> Result:
        begun = time.monotonic()
        try:
            return job()
        finally:
            self._seconds += (time.monotonic() - begun - self._seconds) / 8

    def _enter(self, client: str | None) -> None:
        with self._lock:
            if self._clients.total() >= self._most:
                raise self._overloaded()
            if client is not None and self._clients[client] >= self._per_client:
                raise self._overloaded()
            self._clients[client] += 1

    def _leave(self, client: str | None) -> None:
        with self._lock:
            self._clients[client] -= 1
            self._clients += Counter()  # drops the zeros, so that it stays as small as the queue

    def _overloaded(self) -> Overloaded:
        ahead = self._clients.total() / self._threads
        return Overloaded(retry_after=max(1, math.ceil(ahead * self._seconds)))
