"""How a process is asked to stop: once to finish what is in hand, twice to end at once."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Stop:
    """What the signals said.

    Plain flags, no `threading.Event`: a handler that takes a lock may wait for what it interrupted.
    """

    def __init__(self) -> None:
        self.asked = False
        # By Ctrl+C: a person waits, and no load balancer has to be told first.
        self.hurried = False
        self.on_second: Callable[[], object] = end_at_once

    def listen(self) -> None:
        """Hear SIGTERM and SIGINT from now on. Main thread only."""
        for signum in SIGNALS:
            signal.signal(signum, self.hear)

    def hear(self, signum: int, _frame: FrameType | None = None) -> None:
        again, self.asked = self.asked, True
        self.hurried = self.hurried or signum == signal.SIGINT
        if again:
            self.on_second()


def end_at_once() -> NoReturn:
    """Whatever is in hand. Nothing acknowledged is lost by it: the database takes every kill."""
    # No log line: a log that is stuck must not hold this up.
    os._exit(0)
