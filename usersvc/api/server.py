"""uvicorn around the application: one process, or several under one parent."""

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from usersvc import configuration, logs
from usersvc.api.app import create_app
from usersvc.api.counting import forget_dead, shared_folder
from usersvc.api.protocol import Protocol
from usersvc.core import Core, build
from usersvc.errors import AddressInUse, DomainError, NoAddress, NotServing
from usersvc.jobs.doorbell import Doorbell
from usersvc.jobs.queue import make_queue
from usersvc.jobs.tasks import register
from usersvc.services import keys
from usersvc.settings import Settings, SettingsError

# Accepted requests get so long to finish after SIGTERM.
STOP_SECONDS = 30
_BACKLOG = 2048

_log = logs.get("usersvc.server")


class Server(uvicorn.Server):
    """Comes back after SIGTERM, so that the worker can be stopped and the exit code is ours.

    uvicorn's own raises the signal again once it has shut down, which ends the process.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("ready")


class _Supervisor(Multiprocess):
    """Lets go of the address first, so that nobody is let in while the children finish."""

    counts_folder: Path

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        forget_dead(self.counts_folder, alive={process.pid for process in self.processes})


@dataclass(frozen=True)
class AppFactory:
    """What a child process needs to build its own application; travels by pickle."""

    config: Path | None
    flags: dict[str, Any]

    def __call__(self) -> ASGIApp:
        try:
            settings = configuration.load(self.config, flags=self.flags)
            logs.configure(level=settings.log.level, form=settings.log.format)
            core = build(settings)
            keys.open_ring(core)
            core.doorbell = doorbell(core)
        except (DomainError, SettingsError) as error:
            _log.error("cannot start", reason=str(error))
            # What uvicorn's parent does not try again, since it would fail the same way.
            sys.exit(STARTUP_FAILURE)
        _log.info("ready", pid=os.getpid())
        return create_app(core)


def doorbell(core: Core) -> Callable[[], object]:
    """Rings the workers of other processes through the queue."""
    return Doorbell(register(make_queue(core.settings), core, owner="").deliver_outbox).ring


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
        listener.listen(_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"Something listens on {host}:{port} already; choose another --port, "
                "or set USERSVC_SERVER__PORT."
            ) from None
        raise NoAddress(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    listener.set_inheritable(True)
    return listener


def one_process(core: Core, listener: socket.socket) -> Callable[[], None]:
    """What serves in this process until SIGTERM or SIGINT; accepted requests are finished first.

    Signals are heard from now on, so that one that comes before serving began stops it as cleanly.
    """
    stopping: list[Server] = []
    app = create_app(core, draining=lambda: bool(stopping and stopping[0].should_exit))
    server = Server(_config(app))
    stopping.append(server)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, server.handle_exit)

    return lambda: server.run(sockets=[listener])


def several_processes(settings: Settings, listener: socket.socket, factory: AppFactory) -> Callable[[], None]:
    """What serves in `server.workers` children until SIGTERM; raises NotServing where none can start."""
    config = _config(factory, factory=True, workers=settings.server.workers)
    supervisor = _Supervisor(config, sockets=[listener])

    def run() -> None:
        with shared_folder() as supervisor.counts_folder:
            supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise NotServing

    return run


def _config(app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        http=Protocol,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
        **more,
    )
