"""/metrics of several processes: one sum, whichever answers, also after one of them was killed."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD
from tests.metrics import samples, total, value
from tests.processes import PATIENCE_SECONDS, Running, Usersvc, eventually

pytestmark = pytest.mark.process

REQUESTS = "usersvc_http_requests_total"
LOGINS = "usersvc_logins_total"


@pytest.fixture
def usersvc(tmp_path: Path) -> Usersvc:
    found = Usersvc(tmp_path)
    found.environ["USERSVC_THROTTLE__ENABLED"] = "false"
    found.environ["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    return found


@pytest.fixture
def two(usersvc: Usersvc) -> Iterator[Running]:
    with usersvc.serving("--workers", "2") as server:
        eventually(lambda: _scrape(usersvc, "usersvc_api_processes") == 2)
        yield server


def _metrics(usersvc: Usersvc) -> str:
    """Over a connection of its own; empty where a process died with it."""
    try:
        response = httpx2.get(f"{usersvc.url}/metrics", timeout=PATIENCE_SECONDS)
    except httpx2.TransportError:
        return ""
    assert response.status_code == 200, response.text
    return response.text


def _scrape(usersvc: Usersvc, name: str, **labels: str) -> float | None:
    return value(_metrics(usersvc), name, **labels)


def _requests(usersvc: Usersvc, *, connections: int, each: int) -> None:
    def send(_: int) -> None:
        with httpx2.Client() as client:
            for _ in range(each):
                assert client.get(f"{usersvc.url}/healthz").status_code == 200

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(send, range(connections)))


def _as_each(usersvc: Usersvc, server: Running) -> list[str]:
    """What each process answers, while the others are stopped."""
    processes, found = server.api_processes(), []
    for answering in processes:
        others = [pid for pid in processes if pid != answering]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            found.append(_metrics(usersvc))
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
    return found


def _is_exact(text: str, *, requests: int, ok: int, refused: int) -> None:
    assert value(text, REQUESTS, method="GET", route="/healthz", status="200") == requests
    duration = "usersvc_http_request_duration_seconds_count"
    assert value(text, duration, method="GET", route="/healthz") == requests
    assert value(text, LOGINS, outcome="ok") == ok
    assert value(text, LOGINS, outcome="INVALID_CREDENTIALS") == refused
    assert total(text, LOGINS) == ok + refused
    assert value(text, "usersvc_hashing_wait_seconds_count") == ok + refused
    assert value(text, "usersvc_hashing_running_jobs") == 0


def test_the_sum_is_exact_whichever_process_answers_and_outlives_one_that_is_killed(
    usersvc: Usersvc, two: Running
) -> None:
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    _requests(usersvc, connections=12, each=25)
    for number in range(15):
        password = PASSWORD if number < 10 else OTHER_PASSWORD
        usersvc.post("/auth/login", {"email": EMAIL, "password": password})
    answers = _as_each(usersvc, two)
    assert len(answers) == 2
    for text in answers:
        _is_exact(text, requests=300, ok=10, refused=5)

    [killed, survivor] = two.api_processes()
    os.kill(killed, signal.SIGKILL)
    two.wait_until(
        lambda: len(now := two.api_processes()) == 2 and killed not in now, "the killed one is replaced"
    )
    assert survivor in two.api_processes()
    eventually(lambda: _scrape(usersvc, "usersvc_api_processes") == 2)
    _requests(usersvc, connections=12, each=25)
    for text in _as_each(usersvc, two):
        _is_exact(text, requests=600, ok=10, refused=5)
        assert value(text, "usersvc_api_processes") == 2


def test_what_a_killed_process_was_doing_is_not_told_for_ever(usersvc: Usersvc) -> None:
    # A second and more for each login, so that one is surely seen running.
    usersvc.environ["USERSVC_PASSWORDS__BCRYPT_COST"] = "14"
    stop = threading.Event()

    def log_in_again_and_again() -> None:
        while not stop.is_set():
            try:
                usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD})
            except httpx2.TransportError:
                return

    with usersvc.serving("--workers", "2") as server:
        thread = threading.Thread(target=log_in_again_and_again)
        thread.start()
        try:
            eventually(lambda: _scrape(usersvc, "usersvc_hashing_running_jobs"))
            before = total(_metrics(usersvc), LOGINS)
            for pid in server.api_processes():
                os.kill(pid, signal.SIGKILL)
        finally:
            stop.set()
            thread.join(30)
        eventually(lambda: _scrape(usersvc, "usersvc_api_processes") == 2)
        text = _metrics(usersvc)
        assert value(text, "usersvc_hashing_running_jobs") == 0
        assert value(text, "usersvc_hashing_waiting_jobs") == 0
        assert total(text, LOGINS) >= before


def test_counters_never_go_down_while_processes_die(usersvc: Usersvc, two: Running) -> None:
    highest: dict = {}
    fell: list = []

    def look() -> None:
        for sample, found in samples(_metrics(usersvc)).items():
            if sample[0].endswith(("_total", "_count", "_sum", "_bucket")):
                if found < highest.get(sample, 0):
                    fell.append((sample, highest[sample], found))
                highest[sample] = found

    for _ in range(3):
        _requests(usersvc, connections=4, each=5)
        look()
        victim = two.api_processes()[0]
        os.kill(victim, signal.SIGKILL)
        for _ in range(10):
            look()
        two.wait_until(
            lambda gone=victim: len(now := two.api_processes()) == 2 and gone not in now, "it is replaced"
        )
    look()
    assert fell == []
    assert total(_metrics(usersvc), REQUESTS, route="/healthz") == 60


def test_the_folder_they_share_is_their_own_and_gone_at_the_end(usersvc: Usersvc, two: Running) -> None:
    [folder] = Path(usersvc.environ["TMPDIR"]).glob("usersvc-metrics-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    pids = {int(path.stem.rpartition("_")[2]) for path in folder.iterdir()}
    assert pids == set(two.api_processes())
    assert two.stop() == 0
    assert list(Path(usersvc.environ["TMPDIR"]).glob("usersvc-metrics-*")) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_that_the_environment_names_is_left_alone(usersvc: Usersvc, workers: str) -> None:
    of_another_program = usersvc.folder / "others"
    of_another_program.mkdir()
    usersvc.environ["PROMETHEUS_MULTIPROC_DIR"] = str(of_another_program)
    with usersvc.serving("--workers", workers):
        _requests(usersvc, connections=2, each=5)
        assert _scrape(usersvc, REQUESTS, method="GET", route="/healthz", status="200") == 10
    assert list(of_another_program.iterdir()) == []
