"""better-auth on Node with SQLite: its `get-session` is what `/users/me` is here."""

import shutil
from typing import ClassVar

import httpx2

from bench import environments
from bench.contender import EMAIL, PASSWORD, Contender

_PACKAGE = "better_auth"
_API = "/api/auth"


class BetterAuth(Contender):
    name: ClassVar[str] = "better-auth"
    me: ClassVar[str] = f"{_API}/get-session"
    ready: ClassVar[str] = f"{_API}/ok"

    @staticmethod
    def can_run() -> bool:
        return shutil.which("node") is not None and shutil.which("npm") is not None

    def environ(self, port: int) -> dict[str, str]:
        return {
            "PORT": str(port),
            "DATABASE_FILE": str(self.folder / "sqlite.db"),
            "PACKAGES": str(environments.place_of(_PACKAGE)),
            "NODE_ENV": "production",
        }

    def command(self, port: int) -> list[str]:
        del port
        return ["node", str(environments.source_of(_PACKAGE) / "server.mjs")]

    def prepare(self) -> None:
        environments.install_node(_PACKAGE)
        with self.serving() as served:
            self._post(served.port, "sign-up/email", {"email": EMAIL, "password": PASSWORD, "name": "Bench"})

    def headers(self, port: int) -> dict[str, str]:
        answer = self._post(port, "sign-in/email", {"email": EMAIL, "password": PASSWORD})
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    def _post(self, port: int, path: str, body: dict[str, str]) -> httpx2.Response:
        here = f"http://127.0.0.1:{port}"
        answer = httpx2.post(f"{here}{_API}/{path}", json=body, headers={"Origin": here}, timeout=30)
        return answer.raise_for_status()

    def versions(self) -> dict[str, str]:
        return environments.node_versions(_PACKAGE)
