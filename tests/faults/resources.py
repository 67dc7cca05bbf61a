"""What the processes of the kill loop hold while they live: files, memory, threads, connections."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg

from tests.faults.site import Place, Site

_PAUSE_SECONDS = 0.5
# Of both ends of a life.
_SHARE = 4
_FEWEST_SAMPLES = 8
_MOST_RSS = 1.10
# What comes and goes with requests, six at once: threads, connections of clients, and those to the database,
# each of which is three files on SQLite.
_MOST_THREADS = 12
_MOST_FILES = 24
_MOST_CONNECTIONS = 12
# In less, pools are still being filled again after their processes were killed.
_LONG_SECONDS = 240


@dataclass(frozen=True)
class Sample:
    at: float
    files: int
    threads: int
    kib: int


@dataclass
class Life:
    """One process, from when it was up to its end."""

    what: str
    samples: list[Sample] = field(default_factory=list)

    def ends(self, settled: float) -> tuple[list[Sample], list[Sample]] | None:
        """The samples of its first quarter and of its last, after it `settled` for so many seconds."""
        kept = [sample for sample in self.samples if sample.at >= self.samples[0].at + settled]
        share = len(kept) // _SHARE
        return (kept[:share], kept[-share:]) if len(kept) >= _FEWEST_SAMPLES else None


@dataclass
class Growth:
    """From the first quarter of a life to its last; of files and threads the fewest that it came down to."""

    what: str
    seconds: float
    files: tuple[int, int]
    threads: tuple[int, int]
    kib: tuple[float, float]

    @classmethod
    def of(cls, life: Life, settled: float) -> "Growth | None":
        if (ends := life.ends(settled)) is None:
            return None
        first, last = ends
        return cls(
            life.what,
            last[-1].at - first[0].at,
            (min(s.files for s in first), min(s.files for s in last)),
            (min(s.threads for s in first), min(s.threads for s in last)),
            (median(s.kib for s in first), median(s.kib for s in last)),
        )

    @property
    def is_too_much(self) -> bool:
        return (
            self.files[1] - self.files[0] > _MOST_FILES
            or self.threads[1] - self.threads[0] > _MOST_THREADS
            or self.kib[1] > _MOST_RSS * self.kib[0]
        )

    def __str__(self) -> str:
        return (
            f"{self.what} in {self.seconds:.0f} s: files {self.files[0]} to {self.files[1]}, "
            f"threads {self.threads[0]} to {self.threads[1]}, "
            f"RSS {self.kib[0] / 1024:.1f} to {self.kib[1] / 1024:.1f} MiB"
        )


class Resources:
    """Looks at every process twice a second, in a thread of its own."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lives: dict[tuple[int, str], Life] = {}
        self._connections: list[tuple[float, int]] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def growths(self, settled: float) -> list[Growth]:
        """Of every life that was long enough, the longest first."""
        found = [Growth.of(life, settled) for life in self._lives.values()]
        return sorted(filter(None, found), key=lambda growth: -growth.seconds)

    def connections(self, settled: float) -> tuple[int, int] | None:
        """To PostgreSQL, of all processes: the most in the first quarter and in the last."""
        kept = [number for at, number in self._connections if at >= self._connections[0][0] + settled]
        share = len(kept) // _SHARE
        return (max(kept[:share]), max(kept[-share:])) if len(kept) >= _FEWEST_SAMPLES else None

    def findings(self, settled: float) -> Iterator[str]:
        growths = self.growths(settled)
        if not growths:
            yield "nobody lived long enough to be looked at"
        yield from (f"grew: {growth}" for growth in growths if growth.is_too_much)
        if (
            (found := self.connections(settled))
            and found[1] - found[0] > _MOST_CONNECTIONS
            and self._is_long()
        ):
            yield f"connections to PostgreSQL grew from {found[0]} to {found[1]}"

    def told(self, settled: float) -> str:
        """The longest life of each kind of process, and the largest growth of memory."""
        growths = self.growths(settled)
        by_kind: dict[str, list[Growth]] = defaultdict(list)
        for growth in growths:
            by_kind[growth.what].append(growth)
        lines = [f"lives looked at: {len(growths)}; the longest of each kind:"]
        lines += [f"    {of_kind[0]}" for of_kind in by_kind.values()]
        if growths:
            lines.append(f"    most memory: {max(growths, key=lambda each: each.kib[1] / each.kib[0])}")
        if found := self.connections(settled):
            lines.append(f"    connections to PostgreSQL: {found[0]} to {found[1]}")
        return "\n".join(lines)

    def _is_long(self) -> bool:
        return self._connections[-1][0] - self._connections[0][0] > _LONG_SECONDS

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE_SECONDS):
            for place in self._site.places:
                self._look_at(place)
            if self._site.server and all(place.is_up() for place in self._site.places):
                with contextlib.suppress(psycopg.OperationalError):  # it is killed too
                    self._connections.append((time.monotonic(), self._site.connections()))

    def _look_at(self, place: Place) -> None:
        if not place.is_up():
            return
        children = place.children()
        for pid in (place.pid, *children):
            # Whoever is being killed is gone between two looks.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                sample, who = _sample(pid), (pid, _birth(pid))
                if who not in self._lives and pid in children and not place.serves(pid):
                    continue
                what = f"{place} ({'process' if pid in children else 'parent'})" if children else str(place)
                self._lives.setdefault(who, Life(what)).samples.append(sample)


def _birth(pid: int) -> str:
    """Tells apart two processes that got the same number."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]


def _sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    if "\nVmRSS:" not in status:  # dead, and not buried yet
        raise ProcessLookupError
    threads, kib = (int(status.partition(f"\n{name}:")[2].split()[0]) for name in ("Threads", "VmRSS"))
    return Sample(time.monotonic(), len(list(Path(f"/proc/{pid}/fd").iterdir())), threads, kib)
