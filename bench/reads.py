"""How to read one row for a request: in the event loop, in a thread, or through an AsyncSession?

Serves the same `GET /users/me` in the three ways, one uvicorn process each, in turn and several times, and
prints requests a second as ratios to the AsyncSession. Needs `pip install -e '.[bench]'`. The figures
behind docs/decisions/0001-synchronous-core.md come from here:

    python -m bench.reads
"""

import asyncio
import multiprocessing
import os
import platform
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from bench.peers.async_session.app import make_app
from usersvc import configuration, logs
from usersvc.api import deps
from usersvc.api.app import create_app
from usersvc.api.counting import Counts
from usersvc.api.schemas import UserOut, answer
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import first_admin, keys, login, migration
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

ROUNDS, SECONDS, CONNECTIONS = 5, 4.0, 32
EMAIL, PASSWORD = "bench@example.org", "zebra quilt 41 lamp"
WAYS = ("AsyncSession", "thread", "in place")


def _core(folder: Path) -> Core:
    environ = {"USERSVC_SERVER__DATA_DIR": str(folder), "USERSVC_PASSWORDS__BCRYPT_COST": "10"}
    return build(configuration.load(environ=environ), transport=MemoryTransport())


def _prepare(folder: Path) -> str:
    """A database with one session; its access token."""
    core = _core(folder)
    migration.prepare(core)
    keys.open_ring(core)
    first_admin.create_admin(core, email=EMAIL, password=PASSWORD, actor=Actor.operator("bench"))
    pair = login.log_in(core, email=EMAIL, password=PASSWORD, actor=Actor("anonymous"))
    core.close()
    return pair.access_token


def _app(core: Core, way: str) -> Any:
    if way == "in place":
        return create_app(core)
    if way == "AsyncSession":
        return make_app(core, f"sqlite+aiosqlite:///{core.database.path}")
    app = FastAPI()
    app.state.face = deps.Face(core, counts=Counts(), draining=lambda: False)

    @app.get("/api/v1/users/me")
    async def show(request: Request, bearer: deps.BearerToken) -> Response:
        token = bearer.credentials if bearer else ""
        _, account = await deps.face_of(request).threads.ordinary.run(
            lambda: authenticate(core, access_token=token, actor=Actor("anonymous"))
        )
        return answer(UserOut.of(account))

    return app


def _serve(folder: Path, way: str, port: int, loop: str) -> None:
    logs.configure(level="error", form="json")
    core = _core(folder)
    keys.open_ring(core)
    config = uvicorn.Config(
        _app(core, way), port=port, log_config=None, access_log=False, lifespan="off", loop=loop
    )
    uvicorn.Server(config).run()


async def _one_connection(port: int, token: str, until: float, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    while time.monotonic() < until:
        sent = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        waits.append(time.monotonic() - sent)
    writer.close()


async def _load(port: int, token: str) -> list[float]:
    waits: list[float] = []
    until = time.monotonic() + SECONDS
    await asyncio.gather(*(_one_connection(port, token, until, waits) for _ in range(CONNECTIONS)))
    return waits


def _measure(folder: Path, way: str, token: str, loop: str) -> tuple[float, float]:
    """Requests a second, and the 99th percentile of their times in milliseconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, way, port, loop))
    server.start()
    try:
        _wait_for(port)
        waits = asyncio.run(_load(port, token))
    finally:
        server.terminate()
        server.join()
    return len(waits) / SECONDS, statistics.quantiles(waits, n=100)[98] * 1000


def _wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        token = _prepare(folder)
        variants = [(way, loop) for loop in ("asyncio", "uvloop") for way in WAYS]
        found: dict[tuple[str, str], list[tuple[float, float]]] = {variant: [] for variant in variants}
        for _ in range(ROUNDS):
            for way, loop in variants:
                found[way, loop].append(_measure(folder, way, token, loop))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {CONNECTIONS} connections")
    print(f"{'way':<14}{'loop':<9}{'ratio':>6}  {'spread':<13}{'requests/s':>10}  {'p99 ms':>7}")
    base = [rate for rate, _ in found["AsyncSession", "asyncio"]]
    for way, loop in variants:
        rates = [rate for rate, _ in found[way, loop]]
        ratios = sorted(rate / of for rate, of in zip(rates, base, strict=True))
        p99 = statistics.median(wait for _, wait in found[way, loop])
        spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
        rate = statistics.median(rates)
        print(f"{way:<14}{loop:<9}{statistics.median(ratios):>6.2f}  {spread:<13}{rate:>10.0f}  {p99:>7.1f}")


if __name__ == "__main__":
    main()
