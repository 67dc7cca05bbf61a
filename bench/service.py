"""usersvc itself: a real `usersvc serve` over accounts that are made beforehand, and what it is asked."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from bench.contender import COST, PASSWORD, Contender, own_versions
from bench.load import Connection, Question
from bench.serving import serving
from tests.processes import free_port
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import first_admin, keys, migration
from usersvc.services.actor import Actor

ACCOUNTS = 16
API = "/api/v1"


async def _nothing(_connection: Connection) -> None: ...


async def log_in(connection: Connection, _: object = None) -> tuple[int, Any]:
    body = {"email": f"b{connection.number % ACCOUNTS}@example.org", "password": PASSWORD}
    return await connection.ask("POST", "/auth/login", body=body)


async def _logged_in(connection: Connection) -> Any:
    while True:
        status, pair = await log_in(connection)
        if status == 200:
            return pair


async def _show_me(connection: Connection, pair: Any) -> tuple[int, Any]:
    status, _ = await connection.ask("GET", "/users/me", token=pair["access_token"])
    return status, pair


async def _refresh(connection: Connection, pair: Any) -> tuple[int, Any]:
    return await connection.ask("POST", "/auth/refresh", body={"refresh_token": pair["refresh_token"]})


async def _register(connection: Connection, _: object) -> tuple[int, Any]:
    body = {"email": f"{secrets.token_hex(8)}@example.org", "password": PASSWORD}
    return await connection.ask("POST", "/users", body=body)


SHOW_ME = Question("GET /users/me", _logged_in, _show_me)
REFRESH = Question("POST /auth/refresh", _logged_in, _refresh)
LOG_IN = Question("POST /auth/login", _nothing, log_in)
REGISTER = Question("POST /users", _nothing, _register)


@contextmanager
def opened(environ: dict[str, str]) -> Iterator[Core]:
    """Its core, over a database that is made where there is none."""
    core = build(configuration.load(environ=environ), transport=MemoryTransport())
    try:
        migration.prepare(core)
        keys.open_ring(core)
        yield core
    finally:
        core.close()


def make_accounts(core: Core, number: int) -> None:
    """b0@example.org and so on, administrators."""
    for each in range(number):
        email = f"b{each}@example.org"
        first_admin.create_admin(core, email=email, password=PASSWORD, actor=Actor.operator("bench"))


def command(*, processes: int = 1) -> list[str]:
    return [sys.executable, "-m", "usersvc", "serve", "--workers", str(processes)]


@contextmanager
def serving_accounts(
    environ: dict[str, str], *, folder: Path, processes: int, accounts: int = ACCOUNTS
) -> Iterator[int]:
    """So many accounts, and a server without a worker over them; its port."""
    port = free_port()
    environ = environ | of_port(port)
    with opened(environ) as core:
        make_accounts(core, accounts)
    quiet = [*command(processes=processes), "--no-worker"]
    with serving(quiet, environ=environ, folder=folder, port=port, ready="/readyz") as served:
        yield served.port


def of_port(port: int) -> dict[str, str]:
    """Settings that every server has here: quiet, believing whom a client says he is, gone at once."""
    return {
        "USERSVC_SERVER__PORT": str(port),
        # Tokens name it: else one server would refuse what the one before it signed.
        "USERSVC_SERVER__PUBLIC_URL": "http://127.0.0.1:8000",
        "USERSVC_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "USERSVC_SERVER__DRAIN_SECONDS": "0",
        "USERSVC_LOG__LEVEL": "error",
    }


class Usersvc(Contender):
    """With its defaults, one process, the worker inside on SQLite."""

    name: ClassVar[str] = "usersvc"
    me: ClassVar[str] = f"{API}/users/me"
    ready: ClassVar[str] = "/readyz"

    def __init__(self, folder: Path, *, database: str = "") -> None:
        super().__init__(folder)
        self._settings = {
            "USERSVC_SERVER__DATA_DIR": str(self.folder / "data"),
            "USERSVC_SERVER__SECRET_KEY": secrets.token_hex(),
            "USERSVC_PASSWORDS__BCRYPT_COST": str(COST),
        }
        if database:
            self._settings |= {"USERSVC_DATABASE__URL": database, "USERSVC_MAIL__TRANSPORT": "file"}

    @property
    def database(self) -> Path:
        return self.folder / "data" / "usersvc.db"

    def prepare(self) -> None:
        with self.opened() as core:
            make_accounts(core, ACCOUNTS)

    @contextmanager
    def opened(self) -> Iterator[Core]:
        with opened(self.environ(1)) as core:
            yield core

    def command(self, port: int) -> list[str]:
        del port
        return command()

    def environ(self, port: int) -> dict[str, str]:
        return self._settings | of_port(port)

    def headers(self, port: int) -> dict[str, str]:
        body = {"email": "b0@example.org", "password": PASSWORD}
        answer = httpx2.post(f"http://127.0.0.1:{port}{API}/auth/login", json=body, timeout=30)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['data']['access_token']}"}

    def versions(self) -> dict[str, str]:
        return own_versions("usersvc", "fastapi", "uvicorn", "sqlalchemy", "bcrypt", "pyjwt", "cryptography")
