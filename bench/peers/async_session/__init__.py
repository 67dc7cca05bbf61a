"""The same `/users/me` over SQLAlchemy's AsyncSession, on the database of usersvc and with its tokens."""

import sys
from pathlib import Path
from typing import ClassVar

from bench.contender import UVICORN, Contender, own_versions
from bench.service import Usersvc


class OverAsyncSession(Contender):
    name: ClassVar[str] = "AsyncSession"
    me: ClassVar[str] = Usersvc.me
    ready: ClassVar[str] = "/openapi.json"

    def __init__(self, folder: Path, usersvc: Usersvc, *, database: str = "") -> None:
        """`usersvc` is asked for a token and shares its database; it does not run meanwhile."""
        super().__init__(folder)
        self._usersvc = usersvc
        self._headers: dict[str, str] = {}
        self._url = database.replace("postgresql://", "postgresql+asyncpg://") or (
            f"sqlite+aiosqlite:///{usersvc.database}"
        )

    def command(self, port: int) -> list[str]:
        factory = ["bench.peers.async_session.app:from_environment", "--factory"]
        source = str(Path(__file__).parents[3])
        uvicorn = [sys.executable, "-m", "uvicorn", *factory, "--app-dir", source]
        return [*uvicorn, "--port", str(port), *UVICORN]

    def environ(self, port: int) -> dict[str, str]:
        return self._usersvc.environ(port) | {"ASYNC_DATABASE_URL": self._url}

    def prepare(self) -> None:
        """It has no login of its own."""

    def headers(self, port: int) -> dict[str, str]:
        del port
        with self._usersvc.serving() as served:
            return self._usersvc.headers(served.port)

    def versions(self) -> dict[str, str]:
        return own_versions("sqlalchemy", "aiosqlite", "asyncpg", "fastapi", "uvicorn")
