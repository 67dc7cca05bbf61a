"""Turns for bcrypt, with a short queue.

bcrypt holds a core for a quarter of a second, so more jobs at once than cores only make everybody wait.
Who cannot be served within the deadline is told so at once, instead of queueing without end.
"""

import heapq
import itertools
import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from usersvc.errors import Overloaded

Result = TypeVar("Result")
# Of a thread that hashes: a tenth of what others get who need the same core at the same time.
_NICENESS = 10

Turn = Literal["first", "ordinary", "sign_up"]
"""Who has logged in before from where he asks goes first, and has places that the others cannot fill.

Sign-ups have half of the queue at most."""


def _step_back() -> None:
    """Let who needs a core for a moment go before this thread, which needs one for long."""
    if sys.platform == "linux":  # Elsewhere a thread has no niceness of its own.
        with suppress(OSError):  # a sandbox that knows no such thing
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


@dataclass(order=True)
class _Waiting:
    rank: int
    number: int
    woken: threading.Event = field(default_factory=threading.Event, compare=False)
    has_turn: bool = field(default=False, compare=False)


class Observer:
    """Is told what happens in a pool, by any thread: must be quick and must not fail. This one ignores it."""

    def queue_changed(self, *, waiting: int, running: int) -> None:
        """So many jobs wait and run now. Told inside the pool's lock, so in the order in which it happens."""

    def waited(self, seconds: float) -> None:
        """The turn of a job came after so long."""

    def turned_away(self) -> None:
        """A job was not run: the queue or its client's share was full, or no turn came in time."""


class HashingPool:
    """At most `threads` jobs run and `queue` more wait, `per_client` of them from one client.

    Beyond these are half as many places again for those whose turn is `first`.
    """

    def __init__(self, *, threads: int, queue: int = 16, per_client: int = 2, deadline: float = 3.0) -> None:
        self.observer = Observer()
        self._threads = threads
        self._hashers = ThreadPoolExecutor(threads, "hashing", initializer=_step_back)
        self._most = threads + queue
        self.places = self._most + self._most // 2
        """The most jobs that can be inside at once."""
        self._most_sign_ups = max(1, self._most // 2)
        self._per_client = per_client
        self._deadline = deadline
        self._lock = threading.Condition()
        self._clients: Counter[str | None] = Counter()
        self._sign_ups = 0
        self._running = 0
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._closed = False
        self._seconds = 0.25  # of a job, a moving average; only for Retry-After

    def run(self, job: Callable[[], Result], *, client: str | None = None, turn: Turn = "ordinary") -> Result:
        """Run `job` when its turn comes. `client` names whose job it is (a network); None has no bound.

        Raises Overloaded where the queue or the client's share is full, or where no turn came within
        the deadline; the job has then not run.
        """
        with self._place(client, turn):
            arrived = time.monotonic()
            self._take_turn(0 if turn == "first" else 1)
            begun = time.monotonic()
            try:
                self.observer.waited(begun - arrived)
                return self._hashers.submit(job).result()
            finally:
                self._seconds += (time.monotonic() - begun - self._seconds) / 8
                self._pass_on()

    def require_room(self, client: str | None, turn: Turn) -> None:
        """Raises Overloaded where `run` would do so at once. Keeps no place."""
        with self._lock:
            self._require_room(client, turn)

    def close(self) -> None:
        """Send away who waits, and come back when nothing runs any more."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting:
                waiting.woken.set()
            self._waiting.clear()
            self._tell_queue()
            self._lock.wait_for(lambda: self._running == 0)
        self._hashers.shutdown()

    @property
    def waiting(self) -> int:
        """Jobs that wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def _place(self, client: str | None, turn: Turn) -> Iterator[None]:
        """A place in the queue, for as long as the job waits and runs."""
        signs_up = turn == "sign_up"
        with self._lock:
            self._require_room(client, turn)
            self._clients[client] += 1
            self._sign_ups += signs_up
        try:
            yield
        finally:
            with self._lock:
                self._clients[client] -= 1
                self._clients += Counter()  # drops the zeros, so that it stays as small as the queue
                self._sign_ups -= signs_up

    def _require_room(self, client: str | None, turn: Turn) -> None:
        most = self.places if turn == "first" else self._most
        share_full = client is not None and self._clients[client] >= self._per_client
        sign_ups_full = turn == "sign_up" and self._sign_ups >= self._most_sign_ups
        if self._clients.total() >= most or share_full or sign_ups_full:
            raise self._overloaded()

    def _take_turn(self, rank: int) -> None:
        with self._lock:
            if self._closed:
                raise self._overloaded()
            if self._running < self._threads:
                self._running += 1
                self._tell_queue()
                return
            mine = _Waiting(rank, next(self._numbers))
            heapq.heappush(self._waiting, mine)
            self._tell_queue()
        try:
            mine.woken.wait(self._deadline)
        except BaseException:
            # Ctrl+C while waiting: the turn must not be given to nobody.
            if not self._leave_queue(mine):
                self._pass_on()
            raise
        if self._leave_queue(mine):
            raise self._overloaded()

    def _leave_queue(self, mine: _Waiting) -> bool:
        """False where the turn came already."""
        with self._lock:
            if mine.has_turn:
                return False
            if mine in self._waiting:
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
                self._tell_queue()
            return True

    def _pass_on(self) -> None:
        """Give the turn to whoever is next."""
        with self._lock:
            if self._waiting:
                following = heapq.heappop(self._waiting)
                following.has_turn = True
                following.woken.set()
            else:
                self._running -= 1
                self._lock.notify_all()
            self._tell_queue()

    def _tell_queue(self) -> None:
        self.observer.queue_changed(waiting=len(self._waiting), running=self._running)

    def _overloaded(self) -> Overloaded:
        self.observer.turned_away()
        ahead = self._clients.total() / self._threads
        return Overloaded(retry_after=max(1, math.ceil(ahead * self._seconds)))
