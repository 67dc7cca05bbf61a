"""Far more logins than can be verified: honest refusals, everything else goes on, nothing is left over."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

pytestmark = [pytest.mark.process, pytest.mark.long]

_CLIENTS = 40
_SECONDS = 8
# What forty requests may hold at once, and what an allocator keeps of it.
_MOST_KIB = 64 * 1024


def test_r26_an_overload_is_refused_honestly_and_leaves_nothing_behind(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    # Verifying takes long, so that forty clients are many times what it can do.
    usersvc.environ |= {
        "USERSVC_PASSWORDS__BCRYPT_COST": "13",
        "USERSVC_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "USERSVC_SERVER__PUBLIC_URL": usersvc.url,
    }
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    credentials = {"email": EMAIL, "password": PASSWORD}
    found: Counter[int] = Counter()
    over = threading.Event()

    def hammer(client: int) -> None:
        headers = {"X-Forwarded-For": f"203.0.113.{client + 1}"}
        while not over.is_set():
            answer = usersvc.post("/auth/login", credentials, headers=headers)
            found[answer.status_code] += 1
            if answer.status_code in (429, 503):
                assert int(answer.headers["retry-after"]) >= 1

    with usersvc.serving() as process:
        token = usersvc.post("/auth/login", credentials).json()["data"]["access_token"]
        before = _resident_kib(process.process.pid)
        with ThreadPoolExecutor(_CLIENTS) as pool:
            clients = [pool.submit(hammer, client) for client in range(_CLIENTS)]
            until = time.monotonic() + _SECONDS
            while time.monotonic() < until:
                assert httpx2.get(f"{usersvc.url}/healthz", timeout=PATIENCE_SECONDS).status_code == 200
                assert usersvc.me(token).status_code == 200
            over.set()
            for client in clients:
                client.result()
        assert found[200], "some got in"
        assert found[503] > found[200], "it was no overload"
        assert set(found) <= {200, 429, 503}
        eventually(lambda: usersvc.post("/auth/login", credentials).status_code == 200)
        assert _resident_kib(process.process.pid) - before < _MOST_KIB
        assert process.stop() == 0
        assert "Traceback" not in process.output


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])
