"""Single keys of a terminal, which are not shown and need no Enter."""

import select
import sys
import time
from types import TracebackType
from typing import Any


class Keyboard:
    """Until its block ends; then the terminal is as it was. Where stdin is none, no key is ever hit."""

    def __init__(self) -> None:
        self._before: Any = None

    def __enter__(self) -> "Keyboard":
        if sys.platform != "win32" and sys.stdin and sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        if sys.platform != "win32" and self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def hit(self, seconds: float) -> str:
        """The key that is hit within so many seconds, in lower case; none is empty."""
        if self._before is None:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1).lower() if ready else ""
