"""fastapi-users: SQLAlchemy, JWT; aiosqlite or asyncpg."""

from pathlib import Path
from typing import ClassVar

import httpx2

from bench.contender import COST, EMAIL, PASSWORD, PythonPeer


class FastapiUsers(PythonPeer):
    name: ClassVar[str] = "fastapi-users"
    package: ClassVar[str] = "fastapi_users"
    me: ClassVar[str] = "/users/me"
    ready: ClassVar[str] = "/openapi.json"

    def __init__(self, folder: Path, *, database: str = "") -> None:
        super().__init__(folder)
        self._database = database.replace("postgresql://", "postgresql+asyncpg://")

    def environ(self, port: int) -> dict[str, str]:
        del port
        url = self._database or f"sqlite+aiosqlite:///{self.folder / 'test.db'}"
        return {"DATABASE_URL": url, "BCRYPT_COST": str(COST)}

    def prepare(self) -> None:
        super().prepare()
        with self.serving() as served:
            body = {"email": EMAIL, "password": PASSWORD}
            url = f"http://127.0.0.1:{served.port}/auth/register"
            httpx2.post(url, json=body, timeout=30).raise_for_status()

    def headers(self, port: int) -> dict[str, str]:
        form = {"username": EMAIL, "password": PASSWORD}
        answer = httpx2.post(f"http://127.0.0.1:{port}/auth/jwt/login", data=form, timeout=30)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
