"""Starts a server as its own process and ends it: usersvc and its peers alike."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

_START_SECONDS, _STOP_SECONDS = 60, 5


@dataclass(frozen=True)
class Served:
    port: int
    pid: int

    def resident_mib(self) -> float:
        """Of it and its children."""
        return sum(map(_resident_kib, [self.pid, *_children(self.pid)])) / 1024

    def busy_seconds(self) -> float:
        """Of a core, since it started; it and its children."""
        return sum(map(_busy_seconds, [self.pid, *_children(self.pid)]))


@contextmanager
def serving(
    command: list[str], *, environ: dict[str, str], folder: Path, port: int, ready: str
) -> Iterator[Served]:
    """Once it answers `ready`, with whatever status below 500; what it says stands in `server.log`."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**_inherited(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(process, f"http://127.0.0.1:{port}{ready}", folder)
        yield Served(port, process.pid)
    finally:
        _end(process)


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("USERSVC_")}


def _wait_for(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            told = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{' '.join(process.args)} did not start:\n{told[-2000:]}")  # type: ignore[arg-type]
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """One that is busy with what nobody waits for any more is killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [each for child in map(int, found) for each in (child, *_children(child))]


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def _busy_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
