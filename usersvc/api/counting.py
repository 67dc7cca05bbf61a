"""What API processes count as they work, each for itself, and the sum of it.

One process counts in memory. Several share a folder, in which each has files of its own (prometheus-client's
multiprocess mode), so that whichever of them is asked answers for all.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from usersvc import configuration
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    DatabaseBusy,
    DatabaseUnavailable,
    DomainError,
    InvalidCredentials,
    LoginLocked,
    Overloaded,
    PasswordChangeRequired,
    TooManyAttempts,
    WeakPassword,
)
from usersvc.security.hashing_pool import Observer

UNMATCHED = "unmatched"
OTHER_METHOD = "other"
OK = "ok"
CRASHED = "INTERNAL_ERROR"

# A stranger chooses the method, so only these become labels.
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Present from the start, since the increase from nothing to one is none to Prometheus.
_OUTCOMES = (
    AccountDeactivated,
    AccountNotActivated,
    DatabaseBusy,
    DatabaseUnavailable,
    InvalidCredentials,
    LoginLocked,
    Overloaded,
    PasswordChangeRequired,
    TooManyAttempts,
    WeakPassword,
)
# From a read by key to what waits for a database that is busy.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# Several processes cannot tell when a figure began, so one does not either.
disable_created_metrics()


class Counts:
    """The figures of this process; `folder` is where several share theirs."""

    def __init__(self, folder: Path | None = None) -> None:
        own = CollectorRegistry()
        self.requests = RequestCounts(own)
        self.logins = LoginCounts(own)
        self.hashing = HashingCounts(own)
        # `live`: what a process did goes with it, see `forget_dead`.
        lives = Gauge(
            "usersvc_api_processes", "API processes that live.", multiprocess_mode="livesum", registry=own
        )
        lives.set(1)
        self._published = own
        if folder:
            self._published = CollectorRegistry()
            self._published.register(_AllProcesses(folder))
        else:
            ProcessCollector(registry=own)

    def exposition(self) -> bytes:
        """In Prometheus' text format, for all processes that share the folder."""
        return generate_latest(self._published)


class RequestCounts:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "usersvc_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "usersvc_http_request_duration_seconds",
            "Time from the headers of a request to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        # All there are: to look one up among its labels takes as long as all the counting.
        self._of = cache(self._labelled)

    def answered(self, *, method: str, route: str | None, status: int, seconds: float) -> None:
        """`route` is its template; None where no route of ours was found, or looked for."""
        counter, durations = self._of(method if method in _METHODS else OTHER_METHOD, route, status)
        counter.inc()
        durations.observe(seconds)

    def _labelled(self, method: str, route: str | None, status: int) -> tuple[Counter, Histogram]:
        labels = (method, route or UNMATCHED)
        return self._answered.labels(*labels, str(status)), self._durations.labels(*labels)


class LoginCounts:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._tried = Counter(
            "usersvc_logins_total",
            "Logins tried, by outcome: ok or the error code.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (OK, CRASHED, *(error.code for error in _OUTCOMES)):
            self._tried.labels(outcome)

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Count the login that is tried inside, by how it ends."""
        outcome = CRASHED
        try:
            yield
            outcome = OK
        except DomainError as error:
            outcome = error.code
            raise
        finally:
            self._tried.labels(outcome).inc()


class HashingCounts(Observer):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            "usersvc_hashing_waiting_jobs",
            "Passwords that wait for their turn to be hashed or verified.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._running = Gauge(
            "usersvc_hashing_running_jobs",
            "Passwords that are being hashed or verified.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._turned_away = Counter(
            "usersvc_hashing_turned_away_total",
            "Jobs not run: the queue or their network's share (two) was full, or no turn came in time.",
            registry=registry,
        )
        self._waits = Histogram(
            "usersvc_hashing_wait_seconds",
            "Time that jobs waited until their turn came.",
            buckets=_SECONDS,
            registry=registry,
        )

    def queue_changed(self, *, waiting: int, running: int) -> None:
        self._waiting.set(waiting)
        self._running.set(running)

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def turned_away(self) -> None:
        self._turned_away.inc()


class _AllProcesses(Collector):
    """The files of all processes, summed; those of dead ones too, or counters would go down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in self._folder.glob("*.db") if _has_begun(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)
        return merged


def _has_begun(path: Path) -> bool:
    """A process that starts makes its file empty, which cannot be read; one that died may lose its own."""
    with suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new folder for the processes that are started meanwhile to count in; gone afterwards."""
    with TemporaryDirectory(prefix="usersvc-metrics-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with configuration.counting_in(folder):
            yield folder


def forget_dead(folder: Path, *, alive: Collection[int | None]) -> None:
    """What a process was doing when it died, it does no more; what it had counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if pid not in alive:
            mark_process_dead(pid, str(folder))
