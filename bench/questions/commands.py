"""How long a command takes to say something, against Python doing nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from bench.finding import Finding, Run
from bench.service import Usersvc
from bench.spread import alternating

_EACH = 5
"""Times in a round."""


def ask(run: Run) -> Finding:
    finding = Finding("Time of a command", "ms")
    usersvc = Usersvc(run.folder)
    usersvc.prepare()
    program = str(Path(sys.executable).with_name("usersvc"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "usersvc --help": [program, "--help"],
        "usersvc show-user": [program, "show-user", "b0@example.org"],
    }
    environ = os.environ | usersvc.environ(1)
    found: dict[str, list[float]] = {name: [] for name in commands}
    busy: dict[str, list[float]] = {name: [] for name in commands}
    for name in alternating(list(commands), run.rounds):
        times = [_times(commands[name], environ) for _ in range(_EACH)]
        found[name].append(min(lasted for lasted, _ in times) * 1000)
        busy[name].append(min(took for _, took in times) * 1000)
    for name, lasted in found.items():
        finding.measured(name, lasted)
        finding.notes.append(f"{name}: {min(busy[name]):.0f} ms of a core")
    for key, name in (("help", "usersvc --help"), ("show-user", "usersvc show-user")):
        finding.compares(key, found[name], found["python -c pass"])
    finding.versions[usersvc.name] = usersvc.shown_versions()
    finding.notes.append(f"the shortest of {_EACH} times in each round")
    return finding


def _times(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Until it has ended, and of a core; in seconds."""
    before = getrusage(RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, env=environ, check=True, capture_output=True)
    lasted = time.perf_counter() - began
    after = getrusage(RUSAGE_CHILDREN)
    return lasted, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
