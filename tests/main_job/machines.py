"""Several machines' worth of processes on one database: two servers of two processes each, and workers."""

import contextlib
import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import postgresql_values
from tests.processes import PATIENCE_SECONDS, Running, Usersvc, free_port
from tests.servers import PostgreSQL, postgresql, redis_server

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("redis", marks=[pytest.mark.postgresql, pytest.mark.redis]),
]
WORKERS = 3


class Machines:
    """They share a folder, as the secret key, the files of the mails and those of SQLite lie there."""

    def __init__(self, usersvc: Usersvc, server: PostgreSQL | None = None) -> None:
        self.usersvc = usersvc
        self.server = server
        self.urls: list[str] = []
        self.processes: list[Running] = []
        self._database = server.new_database() if server else ""
        self._turns = itertools.count()
        usersvc.environ |= {
            "USERSVC_SERVER__PUBLIC_URL": usersvc.url,
            "USERSVC_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        }
        if server:
            for name, value in postgresql_values(server, self._database).items():
                usersvc.environ[f"USERSVC_{name.upper()}"] = str(value)

    def rows(self, sql: str) -> list[Any]:
        if self.server:
            return self.server.execute(sql, database=self._database)
        with contextlib.closing(
            sqlite3.connect(self.usersvc.database, timeout=PATIENCE_SECONDS)
        ) as connection:
            return connection.execute(sql).fetchall()

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", network: int = 0
    ) -> httpx2.Response:
        """By the server whose turn it is, as a client in one of many networks."""
        headers = {"X-Forwarded-For": f"203.0.{network // 250}.{network % 250 + 1}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.urls[next(self._turns) % len(self.urls)]}/api/v1{path}"
        return httpx2.request(method, url, json=body, headers=headers, timeout=PATIENCE_SECONDS)

    def insistent(self, number: int, path: str, body: Any) -> httpx2.Response:
        """Again after each honest 503."""
        while (answer := self.call("POST", path, body, network=number)).status_code == 503:
            time.sleep(int(answer.headers["retry-after"]) / 4)
        return answer

    def mails(self, kind: str) -> list[Path]:
        return [path for path in self.usersvc.mails() if path.stem.endswith(f".{kind}")]

    def recipients(self, kind: str) -> Counter[str]:
        mails = [path.read_text(encoding="utf-8") for path in self.mails(kind)]
        return Counter(mail.partition("\nTo: ")[2].splitlines()[0] for mail in mails)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All start at once; in the end each stops when it is asked to, and has told of no bug."""
        with ExitStack() as stack:
            for port in (self.usersvc.port, free_port()):
                arguments = ("serve", "--no-worker", "--workers", "2", "--port", str(port))
                self.processes.append(stack.enter_context(self.usersvc.running(*arguments)))
                self.urls.append(f"http://127.0.0.1:{port}")
            workers = [stack.enter_context(self.usersvc.running("worker")) for _ in range(WORKERS)]
            for process, url in zip(self.processes, self.urls, strict=True):
                process.wait_until(lambda url=url: _is_ready(url), "it is ready")
            for worker in workers:
                worker.wait_until(lambda worker=worker: "worker started" in worker.output, "it is up")
            self.processes += workers
            yield
            for process in self.processes:
                process.process.terminate()
            for process in self.processes:
                assert process.process.wait(timeout=PATIENCE_SECONDS) == 0, process.output
                assert "Traceback" not in process.output


@contextlib.contextmanager
def machines(kind: str, folder: Path) -> Iterator[Machines]:
    """On `sqlite`, on `postgresql`, or on PostgreSQL with `redis` for the queue; nothing was migrated."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql()) if kind != "sqlite" else None
        found = Machines(Usersvc(folder), server)
        if kind == "redis":
            queue = stack.enter_context(redis_server())
            found.usersvc.environ["USERSVC_QUEUE__URL"] = queue.url
        stack.enter_context(found.running())
        yield found


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=PATIENCE_SECONDS).status_code == 200
    except httpx2.TransportError:
        return False
