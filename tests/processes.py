"""Real processes for tests: `usersvc` as a person or a service manager would start it."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2

USERSVC = [sys.executable, "-m", "usersvc"]
JSON = {"Content-Type": "application/json"}
# Ends only what is hopeless: where all is well nobody waits so long, on a busy machine neither.
PATIENCE_SECONDS = 90


class Usersvc:
    """One folder, as a project would have it: commands run in it, processes serve from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/v1"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("USERSVC_")},
            "USERSVC_SERVER__PORT": str(self.port),
            "USERSVC_PASSWORDS__BCRYPT_COST": "10",
            "USERSVC_SERVER__DRAIN_SECONDS": "0",
            "COLUMNS": "120",
        }

    @property
    def database(self) -> Path:
        return self.folder / "data" / "usersvc.db"

    def run(self, *arguments: str, text: str = "", check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A command to its end; fails the test unless it exits with `check`."""
        found = subprocess.run(
            [*USERSVC, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if check is not None:
            assert found.returncode == check, (
                f"{arguments}: {found.returncode}\n{found.stdout}\n{found.stderr}"
            )
        return found

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator["Running"]:
        """A process that goes on; killed at the end if the test has not stopped it."""
        log = self.folder / f"{arguments[0]}.{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*USERSVC, *arguments],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Running(process, log)
        try:
            yield running
        finally:
            running.kill()

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator["Running"]:
        with self.running("serve", *arguments) as server:
            server.wait_until(self._is_ready, "the server is ready")
            yield server

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def mails(self) -> list[Path]:
        return sorted((self.folder / "data" / "mail").glob("*.eml"))

    def post(self, path: str, body: dict[str, Any], **more: Any) -> httpx2.Response:
        return httpx2.post(self.api + path, json=body, timeout=PATIENCE_SECONDS, **more)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=PATIENCE_SECONDS)

    def me(self, access_token: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return httpx2.get(f"{self.api}/users/me", headers=headers, timeout=PATIENCE_SECONDS)


class Running:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def api_processes(self) -> list[int]:
        """The ids of the processes that serve where there are several; the resource tracker is none."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [int(child) for child in children if b"spawn_main" in _command_of(child)]

    def wait_until(
        self, happened: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"not after {seconds} s: {what}\n{self.output}"
            time.sleep(0.05)

    def stop(self, signum: int = signal.SIGTERM, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """End it and its children without asking; they share a session of their own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE_SECONDS)


def _command_of(pid: str) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def eventually(happened: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `happened` returns once that is true; the test fails where it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = happened()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def sockets(pid: int) -> set[str]:
    """Those that a process holds; none where it is gone."""
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(descriptor))
    return {name for name in found if name.startswith("socket:")}


def sockets_from(ports: Iterable[int]) -> set[str]:
    """Those on this machine that are bound to one of these ports."""
    wanted = set(ports)
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return {
        f"socket:[{fields[9]}]"
        for fields in map(str.split, lines)
        if int(fields[1].partition(":")[2], 16) in wanted
    }


def free_port() -> int:
    """Below those of outgoing connections, one of which could take it before the server does."""
    while True:
        port = random.SystemRandom().randint(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
