"""A disk that is full under a running server; a limit on the size of its files stands for it."""

import resource
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

pytestmark = [pytest.mark.process, pytest.mark.sqlite]

_ROOM = 64 * 1024


def test_r15_a_full_disk_is_a_503_loses_nothing_and_needs_no_restart(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.environ["USERSVC_THROTTLE__ENABLED"] = "false"
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    numbers = count()
    acknowledged: list[str] = []

    def register() -> httpx2.Response:
        email = f"n{next(numbers)}@example.org"
        answer = usersvc.post("/users", {"email": email, "password": PASSWORD})
        if answer.status_code == 202:
            acknowledged.append(email)
        return answer

    with usersvc.serving("--no-worker") as process:
        pair = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
        assert register().status_code == 202
        files = [usersvc.database, usersvc.database.with_name("usersvc.db-wal")]
        full = max(path.stat().st_size for path in files) + _ROOM
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        while (refused := register()).status_code == 202:
            assert len(acknowledged) < 500, "the disk was never full"
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        # To the last byte, also for the log.
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert usersvc.me(pair["access_token"]).status_code == 200, "reading goes on"
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).status_code == 503
        assert httpx2.get(f"{usersvc.url}/healthz", timeout=PATIENCE_SECONDS).status_code == 200
        eventually(lambda: httpx2.get(f"{usersvc.url}/readyz", timeout=PATIENCE_SECONDS).status_code == 503)

        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, unlimited)
        assert register().status_code == 202
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).status_code == 200
        assert process.stop() == 0
        assert "Traceback" not in process.output
    with closing(sqlite3.connect(usersvc.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {email for (email,) in database.execute("SELECT email FROM users")}
        mailed = {email for (email,) in database.execute("SELECT address FROM outbox")}
    assert set(acknowledged) <= kept
    assert set(acknowledged) <= mailed
    assert kept == {*mailed, EMAIL}
