"""Django REST framework with simplejwt and its blacklist, under gunicorn: one process, many threads."""

import subprocess
from typing import Any, ClassVar

import httpx2

from bench.contender import PASSWORD, PythonPeer
from bench.load import Connection, Question
from bench.service import ACCOUNTS


class DjangoSimplejwt(PythonPeer):
    name: ClassVar[str] = "Django, simplejwt"
    package: ClassVar[str] = "django_simplejwt"
    me: ClassVar[str] = "/api/users/me/"
    ready: ClassVar[str] = me

    def environ(self, port: int) -> dict[str, str]:
        del port
        return {"DATABASE_FILE": str(self.folder / "db.sqlite3"), "PASSWORD": PASSWORD}

    def prepare(self) -> None:
        super().prepare()
        command = [str(self.programs / "python"), str(self.source / "app.py"), str(ACCOUNTS)]
        subprocess.run(command, env=self.environ(0), check=True)

    def command(self, port: int) -> list[str]:
        gunicorn = [str(self.programs / "gunicorn"), "app:application", "--chdir", str(self.source)]
        # Threads keep connections open, which gunicorn's plain worker does not.
        threads = ["--workers", "1", "--worker-class", "gthread", "--threads", str(ACCOUNTS)]
        return [*gunicorn, *threads, "--bind", f"127.0.0.1:{port}", "--log-level", "error"]

    def headers(self, port: int) -> dict[str, str]:
        body = {"username": "b0@example.org", "password": PASSWORD}
        answer = httpx2.post(f"http://127.0.0.1:{port}/api/token/", json=body, timeout=30)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access']}"}


async def _logged_in(connection: Connection) -> Any:
    body = {"username": f"b{connection.number}@example.org", "password": PASSWORD}
    _, pair = await connection.ask("POST", "/api/token/", body=body)
    return pair


async def _refresh(connection: Connection, pair: Any) -> tuple[int, Any]:
    return await connection.ask("POST", "/api/token/refresh/", body={"refresh": pair["refresh"]})


REFRESH = Question("POST /api/token/refresh/", _logged_in, _refresh, prefix="")
