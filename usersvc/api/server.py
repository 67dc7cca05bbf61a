"""The address, and who serves on it: this process, or several under it."""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess, multiprocess

from usersvc import configuration, logs
from usersvc.api.counting import forget_dead, shared_folder
from usersvc.api.serving import BACKLOG, MOST_ACCEPT_SECONDS, STOP_SECONDS, Server
from usersvc.core import Core, build
from usersvc.errors import AddressInUse, DomainError, NoAddress, NotServing
from usersvc.jobs.doorbell import Doorbell
from usersvc.jobs.queue import make_queue
from usersvc.jobs.tasks import register
from usersvc.services import keys, schema
from usersvc.settings import Settings, SettingsError
from usersvc.stopping import SIGNALS, Stop, end_at_once

if sys.platform != "win32":
    from multiprocessing import resource_tracker

# A child that has not ended so long after all it may wait for is hung.
_HUNG_SECONDS = 5
# So long a child may take to import what it needs: on a busy machine that is many times what it usually is.
_START_SECONDS = 60

_log = logs.get("usersvc.server")


def listen(settings: Settings) -> socket.socket:
    """Raises AddressInUse or NoAddress before anything was started."""
    host, port = settings.server.host, settings.server.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Now, not when serving begins: of two that start at once one is told here.
        listener.listen(BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"Something listens on {host}:{port} already; choose another --port, "
                "or set USERSVC_SERVER__PORT."
            ) from None
        raise NoAddress(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    listener.set_inheritable(True)
    return listener


def doorbell(core: Core) -> Callable[[], object]:
    """Rings the workers of other processes through the queue."""
    return Doorbell(register(make_queue(core.settings), core, owner="").deliver_outbox).ring


@dataclass(frozen=True)
class Child:
    """Builds the core in a child process; travels there by pickle."""

    config: Path | None
    flags: dict[str, Any]

    def __call__(self) -> Core:
        """Ends the process where that cannot be done."""
        try:
            settings = configuration.load(self.config, flags=self.flags)
            logs.configure(level=settings.log.level, form=settings.log.format)
            core = build(settings)
            schema.wait_for_server(core)
            keys.open_ring(core)
            core.doorbell = doorbell(core)
        except (DomainError, SettingsError) as error:
            _log.error("cannot start", reason=str(error))
            # What uvicorn's parent does not try again, since it would fail the same way.
            sys.exit(STARTUP_FAILURE)
        return core


def serve(core: Core, listener: socket.socket, stop: Stop, child: Child) -> None:
    """Until `stop` is asked and every request that got here is answered; in children where several are set.

    Raises NotServing where no child can start.
    """
    if core.settings.server.workers == 1:
        Server(core, stop).run(sockets=[listener])
        return
    supervisor = _Supervisor(core.settings, listener, stop, child)
    with shared_folder() as supervisor.counts_folder:
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise NotServing


class _Process(multiprocess.Process):
    """uvicorn's child process, with our server in it."""

    _server: Server | None
    _answered = False
    _started_at = 0.0

    def start(self) -> None:
        """A signal that a terminal or systemd sends to all waits until the child can hear it."""
        self._started_at = time.monotonic()
        if sys.platform == "win32":
            super().start()
            return
        # Started before: it lifts the block while it starts.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def is_alive(self, timeout: float = _HUNG_SECONDS) -> bool:
        """A child that still starts cannot answer: killed for that, each next one would take longer still."""
        if super().is_alive(timeout):
            self._answered = True
            return True
        starts = not self._answered and time.monotonic() < self._started_at + _START_SECONDS
        return starts and self.process.is_alive()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """In the child: serves until the parent says so, or is no more."""
        stop = Stop()
        # Two are usual, from the terminal and from the parent; who ends at once is for the parent to say.
        stop.on_second = lambda: None
        stop.listen()
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=self._answer_parent, args=(stop,), name="parent", daemon=True).start()
        child: Child = self.config.app  # type: ignore[assignment]
        with contextlib.closing(child()) as core:
            self._server = Server(core, stop)
            self._server.run(sockets)

    def _answer_parent(self, stop: Stop) -> None:
        self.parent_conn.close()
        with contextlib.suppress(EOFError, OSError):
            self.always_pong()
        stop.hear(signal.SIGTERM)

    def pong(self) -> None:
        self.child_conn.recv()
        self.child_conn.send(self._server is not None and self._server.started)


# There is no other way to tell Multiprocess which processes to make.
multiprocess.Process = _Process  # type: ignore[misc]


class _Supervisor(Multiprocess):
    counts_folder: Path

    def __init__(self, settings: Settings, listener: socket.socket, stop: Stop, child: Child) -> None:
        workers = settings.server.workers
        super().__init__(uvicorn.Config(child, log_config=None, workers=workers), sockets=[listener])
        self._stop = stop
        self._stop_seconds = (
            settings.server.drain_seconds + MOST_ACCEPT_SECONDS + STOP_SECONDS + _HUNG_SECONDS
        )
        stop.on_second = self._end_at_once
        # Multiprocess has taken the signals.
        stop.listen()

    def handle_signals(self) -> None:
        super().handle_signals()
        if self._stop.asked:
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        forget_dead(self.counts_folder, alive={process.pid for process in self.processes})

    def terminate_all(self) -> None:
        """Lets go of the address first: the last child that does must be able to let in who waits."""
        for listener in self.sockets:
            listener.close()
        if self._stop.hurried and sys.platform != "win32":
            for process in self.processes:
                if process.pid and process.exitcode is None:
                    os.kill(process.pid, signal.SIGINT)
        super().terminate_all()

    def join_all(self) -> None:
        deadline = time.monotonic() + self._stop_seconds
        for process in self.processes:
            process.process.join(timeout=max(0, deadline - time.monotonic()))
            if process.exitcode is None:
                _log.warning("a server process did not end and is killed", pid=process.pid)
                process.kill()
        super().join_all()

    def _end_at_once(self) -> None:
        for process in self.processes:
            process.process.kill()
        end_at_once()
