"""What a process does between the first signal and its end, and what becomes of who is connected."""

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.metrics import value
from tests.processes import PATIENCE_SECONDS, USERSVC, Running, Usersvc, eventually
from usersvc.api import protocol

pytestmark = pytest.mark.process

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

both = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def open_ones() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _connected(usersvc: Usersvc, open_ones: ExitStack) -> socket.socket:
    return open_ones.enter_context(
        socket.create_connection(("127.0.0.1", usersvc.port), timeout=PATIENCE_SECONDS)
    )


def _answers(connection: socket.socket) -> bytes:
    """All that comes until the server closes; a reset fails the test."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def _answer(connection: socket.socket) -> bytes:
    """The answer to REQUEST on a connection that may stay open."""
    found = b""
    while not found.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, found
        found += piece
    return found


def _signal_all(server: Running, signum: int) -> None:
    """As a terminal does, and systemd: to the process and all its children at once."""
    os.killpg(server.process.pid, signum)


def _children(server: Running) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _serves(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _are_gone(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}/exe").exists() for pid in processes)


# -- signals


@pytest.mark.parametrize(
    ("arguments", "signum", "to_all"),
    [
        ("serve", signal.SIGINT, False),
        ("serve --workers 2", signal.SIGINT, False),
        ("serve --workers 2", signal.SIGINT, True),
        ("serve --workers 2", signal.SIGTERM, True),
        ("worker", signal.SIGINT, False),
        ("worker", signal.SIGTERM, False),
    ],
)
def test_a_signal_stops_each_process_cleanly(
    usersvc: Usersvc, arguments: str, signum: int, to_all: bool
) -> None:
    """And Ctrl+C does so without a drain time."""
    usersvc.run("migrate")
    if signum == signal.SIGINT:
        usersvc.environ["USERSVC_SERVER__DRAIN_SECONDS"] = "300"
    with usersvc.running(*arguments.split()) as process:
        process.wait_until(lambda: "worker started" in process.output, "it is up")
        if arguments != "worker":
            process.wait_until(usersvc._is_ready, "it is ready")
        if to_all:
            _signal_all(process, signum)
        else:
            process.process.send_signal(signum)
        assert process.process.wait(timeout=PATIENCE_SECONDS) == 0
        assert "worker stopped" in process.output
        assert "Traceback" not in process.output


@both
def test_ctrl_c_while_it_starts_stops_it_as_cleanly(
    usersvc: Usersvc, workers: str, open_ones: ExitStack
) -> None:
    """As soon as it can be reached; and who reached it is answered."""
    with usersvc.running("serve", "--workers", workers) as server:

        def early() -> socket.socket | None:
            try:
                return _connected(usersvc, open_ones)
            except ConnectionRefusedError:
                return None

        connection = eventually(early)
        connection.sendall(REQUEST)
        if workers == "2":
            eventually(lambda: len(_children(server)) > 1)
        _signal_all(server, signal.SIGINT)
        assert _answers(connection).startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 0
        assert "Traceback" not in server.output


def test_a_worker_that_waits_for_the_database_stops_as_cleanly(usersvc: Usersvc) -> None:
    with usersvc.running("worker") as worker:
        worker.wait_until(lambda: "waiting for the database" in worker.output, "it waits")
        assert worker.stop() == 0


def test_children_that_died_are_replaced_and_none_outlives_its_parent(
    usersvc: Usersvc, open_ones: ExitStack
) -> None:
    with usersvc.serving("--workers", "2") as server:
        server.wait_until(lambda: server.output.count('"ready"') == 2, "both are ready")
        killed = next(child for child in _children(server) if _serves(child))
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: server.output.count('"ready"') == 3, "another one is ready")
        children = _children(server)
        assert killed not in children
        late = _connected(usersvc, open_ones)
        server.process.kill()
        late.sendall(REQUEST)
        assert _answer(late).startswith(b"HTTP/1.1 200")
        server.process.wait(timeout=PATIENCE_SECONDS)
        eventually(lambda: _are_gone(children))


def test_a_child_that_takes_long_to_start_is_not_killed_for_it(usersvc: Usersvc) -> None:
    usersvc.run("migrate")
    with usersvc.serving("--workers", "2") as server:
        server.wait_until(lambda: server.output.count('"ready"') == 2, "both are ready")
        killed, other = server.api_processes()
        os.kill(killed, signal.SIGKILL)
        started = eventually(lambda: set(server.api_processes()) - {killed, other})
        slow = started.pop()
        os.kill(slow, signal.SIGSTOP)
        time.sleep(7)  # longer than an answer may take of one that has started
        os.kill(slow, signal.SIGCONT)
        server.wait_until(lambda: server.output.count('"ready"') == 3, "the slow one is ready")
        assert set(server.api_processes()) == {slow, other}


# -- the drain time


@both
def test_readiness_goes_red_first_and_everybody_is_served_until_a_second_signal(
    usersvc: Usersvc, workers: str
) -> None:
    usersvc.environ["USERSVC_SERVER__DRAIN_SECONDS"] = "300"
    with usersvc.serving("--workers", workers) as server, httpx2.Client() as kept:
        assert "connection" not in kept.get(f"{usersvc.url}/healthz").headers
        children = _children(server)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: server.output.count('"stopping"') == int(workers), "it stops")
        # New connections fall to either child.
        for _ in range(20):
            answer = httpx2.get(f"{usersvc.url}/readyz")
            assert (answer.status_code, answer.json()["reason"]) == (503, "STOPPING")
            assert answer.headers["connection"] == "close"
        assert usersvc.post("/users", {"email": EMAIL, "password": PASSWORD}).status_code == 202
        assert httpx2.get(f"{usersvc.url}/healthz").status_code == 200
        assert kept.get(f"{usersvc.url}/healthz").headers["connection"] == "close"
        assert server.stop() == 0
        assert "worker stopped" not in server.output
        eventually(lambda: _are_gone(children))


# -- who is connected when nobody listens any more


def test_a_request_that_was_accepted_is_finished_after_sigterm(usersvc: Usersvc) -> None:
    usersvc.environ["USERSVC_PASSWORDS__BCRYPT_COST"] = "14"
    with usersvc.serving() as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(usersvc.post, "/users", {"email": EMAIL, "password": PASSWORD})
        eventually(lambda: value(httpx2.get(f"{usersvc.url}/metrics").text, "usersvc_hashing_running_jobs"))
        assert server.stop() == 0
        assert answer.result().status_code == 202


@both
def test_who_is_connected_but_not_accepted_yet_is_answered(
    usersvc: Usersvc, workers: str, open_ones: ExitStack
) -> None:
    """The server hangs, the kernel goes on completing connections; the signal is what it hears of first."""
    with usersvc.serving("--workers", workers) as server:
        _signal_all(server, signal.SIGSTOP)
        waiting = [_connected(usersvc, open_ones) for _ in range(50)]
        for connection in waiting[:25]:
            connection.sendall(REQUEST)
        _signal_all(server, signal.SIGTERM)
        _signal_all(server, signal.SIGCONT)
        for connection in waiting[25:]:
            connection.sendall(REQUEST)
        for connection in waiting:
            assert _answers(connection).startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 0


def test_who_is_connected_has_a_moment_to_say_something(usersvc: Usersvc, open_ones: ExitStack) -> None:
    """Connections that were never used, one between two requests, and some in the middle of one."""
    body = b'{"email": "ada@example.org"}'
    head = b"POST /api/v1/auth/resend-activation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    post = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with usersvc.serving() as server:
        mute, silent, kept, in_headers, in_body = (_connected(usersvc, open_ones) for _ in range(5))
        kept.sendall(REQUEST)
        assert b"connection: close" not in _answer(kept)
        in_headers.sendall(post[:30])
        in_body.sendall(post[:-10])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: '"stopping"' in server.output, "it stops")
        for connection in (silent, kept):
            connection.sendall(REQUEST)
            answers = _answers(connection)
            assert answers.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answers
        assert _answers(mute) == b""
        time.sleep(protocol.IDLE_SECONDS)
        in_headers.sendall(post[30:])
        in_body.sendall(post[-10:])
        for connection in (in_headers, in_body):
            assert _answers(connection).startswith(b"HTTP/1.1 202")
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 0
        assert "cut off" not in server.output


def test_pipelined_requests_are_all_answered_and_the_last_one_closes(
    usersvc: Usersvc, open_ones: ExitStack
) -> None:
    with usersvc.serving() as server:
        connection = _connected(usersvc, open_ones)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: '"stopping"' in server.output, "it stops")
        ready = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(ready * 3 + REQUEST)
        answers = _answers(connection)
        assert (answers.count(b"HTTP/1.1 503"), answers.count(b"HTTP/1.1 200")) == (3, 1)
        assert answers.count(b"connection: close") == 1
        assert answers.rindex(b"connection: close") > answers.rindex(b"HTTP/1.1")
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 0


# -- the worker


@pytest.fixture
def slow_mail(usersvc: Usersvc, rows, open_ones: ExitStack) -> tuple[subprocess.Popen[bytes], BinaryIO]:
    """`worker` with the first of two mails on its way to a console that nobody reads; and that console."""
    with usersvc.serving("--no-worker"):
        for name in ("ada", "bob"):
            body = {"email": f"{name}@example.org", "password": PASSWORD}
            assert usersvc.post("/users", body).status_code == 202
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)
    console = open_ones.enter_context(os.fdopen(reading, "rb"))
    environ = {**usersvc.environ, "USERSVC_MAIL__TRANSPORT": "console"}
    worker = subprocess.Popen(
        [*USERSVC, "worker", "--threads", "1"], cwd=usersvc.folder, env=environ, stdout=writing
    )
    os.close(writing)
    open_ones.callback(worker.wait, timeout=PATIENCE_SECONDS)
    open_ones.callback(worker.kill)
    eventually(lambda: rows("SELECT count(*) FROM outbox WHERE attempts = 1") == [(1,)])
    return worker, console


def test_a_mail_on_its_way_is_waited_for_and_the_next_one_is_left(slow_mail, rows) -> None:
    worker, console = slow_mail
    worker.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=1)
    with ThreadPoolExecutor(1) as pool:
        mails = pool.submit(console.read)
        assert worker.wait(timeout=PATIENCE_SECONDS) == 0
        assert mails.result().count(b"Subject: ") == 1
    assert rows("SELECT status, attempts FROM outbox ORDER BY attempts") == [("due", 0), ("sent", 1)]
