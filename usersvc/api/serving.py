"""uvicorn's server in one process: from the first connection to a stop that drops no request."""

import asyncio
import errno
import gc
import os
import selectors
import socket
import sys
import time
from functools import partial
from types import FrameType
from typing import Any

# Commands load these two only where they need them; a server has them before anybody asks.
import email_validator  # noqa: F401
import uvicorn

import usersvc.security.strength  # noqa: F401
from usersvc import logs
from usersvc.api.app import create_app
from usersvc.api.protocol import Protocol, State
from usersvc.core import Core
from usersvc.repeating import Repeating
from usersvc.services import keys, watching
from usersvc.stopping import Stop

BACKLOG = 2048
# Requests that began get so long to finish once nobody listens any more.
STOP_SECONDS = 30
# Newcomers who keep on coming do not hold up a stop for longer.
MOST_ACCEPT_SECONDS = 2
# As long as no file can be opened, it is said so often.
FULL_EVERY_SECONDS = 5.0
_FULL = (errno.EMFILE, errno.ENFILE)

_log = logs.get("usersvc.server")


class Server(uvicorn.Server):
    """Serves until `stop` is asked, and comes back when the last connection is gone.

    SIGTERM: /readyz is red, and for `server.drain_seconds` everybody is served as before, so that load
    balancers can look elsewhere. Then who is connected is let in, the address is let go, and what has
    begun is finished. (uvicorn's own ends the process by the signal, which hides the exit code.)
    """

    def __init__(self, core: Core, stop: Stop) -> None:
        app = create_app(core, draining=lambda: stop.asked)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                http=Protocol,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                backlog=BACKLOG,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self.server_state: State = State(stop)
        self._stop = stop
        self._beside = [
            Repeating(partial(watching.warn, core), every=watching.PERIOD, name="watch"),
            Repeating(partial(keys.follow, core), every=keys.FOLLOWED_EVERY, name="keys"),
        ]
        self._drain_seconds = core.settings.server.drain_seconds
        self._drained_at: float | None = None
        self._told_full_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop.hear(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_log_unless_full)
        await super().startup(sockets)
        # What is here now stays: the search for garbage need not come by again.
        gc.freeze()
        # How long the event loop waits for a thread that computes: five times that by default.
        sys.setswitchinterval(0.001)
        for repeating in self._beside:
            repeating.start()
        _log.info("ready", pid=os.getpid())

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second; whether to shut down."""
        await super().on_tick(counter)
        self._tell_when_full()
        if not self._stop.asked:
            return False
        if self._drained_at is None:
            self._begin_to_drain()
        return self._stop.hurried or time.monotonic() >= (self._drained_at or 0)

    def _tell_when_full(self) -> None:
        """uvloop closes connections that it has no file descriptor for, and says nothing."""
        now = time.monotonic()
        if self._told_full_at is not None and now - self._told_full_at < FULL_EVERY_SECONDS:
            return
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in _FULL:
                self._told_full_at = now
                _log.warning(
                    "no file descriptor is left for new connections: raise the limit on open files",
                    connections=len(self.server_state.connections),
                )

    def _begin_to_drain(self) -> None:
        seconds = 0 if self._stop.hurried else self._drain_seconds
        self._drained_at = time.monotonic() + seconds
        for connection in self.server_state.connections:
            connection.make_last()
        _log.info("stopping", pid=os.getpid(), drain_seconds=seconds)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await _let_in(sockets or [])
        self.server_state.listening = False
        await super().shutdown(sockets)
        if cut_off := len(self.server_state.connections):
            _log.warning("requests cut off", requests=cut_off, after_seconds=STOP_SECONDS)
        for repeating in self._beside:
            repeating.end()


def _log_unless_full(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own loop would write a traceback for each place in the backlog; the server says it once."""
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in _FULL and "socket" in context):
        loop.default_exception_handler(context)


async def _let_in(listeners: list[socket.socket]) -> None:
    """Accept whoever is connected as the kernel sees it: closing a listener resets those.

    Who connects between the last look and the closing still is reset; nothing of theirs was read.
    """
    deadline = time.monotonic() + MOST_ACCEPT_SECONDS
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        while selector.select(timeout=0) and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
