"""How soon `usersvc serve` is ready, and the memory that it takes: at rest, and after many requests."""

import time

from bench.ceilings import hammer
from bench.finding import Finding, Run
from bench.service import Usersvc

REQUESTS = 100_000
_REST_SECONDS = 3


def ask(run: Run) -> Finding:
    finding = Finding("Memory of `usersvc serve`, one process, its worker inside", "MiB")
    usersvc = Usersvc(run.folder)
    usersvc.prepare()
    finding.reaches("start", [_start(usersvc) for _ in range(run.rounds)])
    at_rest, grown = [], []
    for _ in range(run.rounds):
        with usersvc.serving() as served:
            time.sleep(_REST_SECONDS)
            at_rest.append(served.resident_mib())
            asked = 0
            while asked < REQUESTS:
                # Again and again, since an access token lives for minutes.
                headers = usersvc.headers(served.port)
                asked += hammer(served.port, usersvc.me, headers=headers, seconds=run.seconds).asked
            grown.append(served.resident_mib())
    finding.measured("at rest", at_rest)
    finding.measured(f"after {REQUESTS:,} requests", grown)
    finding.reaches("memory", at_rest)
    finding.compares("memory-grown", grown, at_rest)
    finding.versions[usersvc.name] = usersvc.shown_versions()
    return finding


def _start(usersvc: Usersvc) -> float:
    """Seconds."""
    began = time.monotonic()
    with usersvc.serving():
        return time.monotonic() - began
