"""The most requests a second that a server answers, asked without a pause by wrk."""

import math
import re
import shutil
import subprocess
from dataclasses import dataclass

CONNECTIONS = 32
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Ceiling:
    rate: float
    """Good answers a second."""
    p99: float
    """Seconds."""
    asked: int


def hammer(
    port: int,
    path: str,
    *,
    headers: dict[str, str],
    seconds: float,
    warm: float = 1.0,
    may_fail: bool = False,
) -> Ceiling:
    """Raises RuntimeError where an answer was not good, unless it `may_fail`."""
    told = _wrk(port, path, headers, seconds)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    errors = re.search(r"Socket errors: (.*)", told)
    if (bad or errors) and not may_fail:
        raise RuntimeError(f"not all answers of {path} are good:\n{told}")
    return read(told)


def read(told: str) -> Ceiling:
    """What wrk says, as numbers."""
    asked, lasted = _found(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", told)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", told)
    good = asked - (int(bad[1]) if bad else 0)
    return Ceiling(good / lasted, float(p99[1]) * _SECONDS[p99[2]] if p99 else math.inf, asked)


def _found(pattern: str, told: str) -> tuple[int, float]:
    found = re.search(pattern, told)
    if not found:
        raise RuntimeError(f"wrk said something else:\n{told}")
    return int(found[1]), float(found[2]) * _SECONDS[found[3]]


def _wrk(port: int, path: str, headers: dict[str, str], seconds: float) -> str:
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is missing: `make bench` installs it on Debian")
    command = [
        program,
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    )
    return done.stdout
