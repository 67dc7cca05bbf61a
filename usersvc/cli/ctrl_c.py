"""What Ctrl+C does to a command: it ends it at once, as a kill does, which the database takes at any moment.

As an exception out of nowhere, which Python makes of it, it would show a traceback where modules are imported
and where SQLAlchemy tidies up. Questions, what follows and the servers hear it themselves.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def ends_at_once() -> None:
    """From now on, unless it is ignored, as of a command in the background of a script. Main thread only."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def heard_by(hear: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Meanwhile; afterwards by who heard it before. Main thread only."""
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
