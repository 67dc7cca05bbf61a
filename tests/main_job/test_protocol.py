"""What comes over the wire before it is a request, against a real server."""

import json
import os
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests import processes
from tests.conftest import settings_for
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, token_in_file
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually
from usersvc.jobs.queue import make_queue

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Usersvc]:
    """One for all who leave nothing behind in it."""
    found = Usersvc(tmp_path_factory.mktemp("protocol"))
    with found.serving():
        yield found


@pytest.fixture
def alone(usersvc: Usersvc) -> Iterator[Usersvc]:
    with usersvc.serving():
        yield usersvc


def _talk(usersvc: Usersvc, *parts: bytes, end: bool = False, pause: float = 0.05) -> bytes:
    """Send the parts, and all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", usersvc.port), timeout=PATIENCE_SECONDS) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
        except OSError:
            pass
        return found


def _told_first(usersvc: Usersvc, request: bytes) -> bytes:
    """The answer, on a connection that may stay open."""
    with socket.create_connection(("127.0.0.1", usersvc.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        found = b""
        while not found.endswith(b"}") and (piece := connection.recv(65536)):
            found += piece
        return found


def _is_refusal(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert json.loads(body)["error"]["code"] == code
    for name in (b"x-request-id", b"cache-control: no-store", b"x-content-type-options", b"application/json"):
        assert name in head.lower()


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_envelope(serving: Usersvc, request_line: bytes) -> None:
    _is_refusal(_talk(serving, request_line), 400, "BAD_REQUEST")


def test_a_stranger_cannot_fill_the_log_with_warnings(usersvc: Usersvc) -> None:
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n"
    with usersvc.serving() as server:
        for sent in (b"GARBAGE\r\n\r\n", upgrade % b"websocket", upgrade % b"h2c"):
            assert _told_first(usersvc, sent).startswith(b"HTTP/1.1 ")
        assert server.stop() == 0
        logged = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
        assert {line["level"] for line in logged} == {"info"}


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
    ],
)
def test_ambiguous_framing_is_refused(serving: Usersvc, framing: bytes) -> None:
    request = b"POST /api/v1/auth/logout HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n0\r\n\r\nGET /healthz"
    answer = _talk(serving, request)
    _is_refusal(answer, 400, "BAD_REQUEST")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_a_broken_body_is_refused_once(serving: Usersvc, broken: bytes) -> None:
    head = b"POST /api/v1/auth/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    refused = [
        _talk(serving, head + broken),
        # The application waits for the body already; and so behind an answered request.
        _talk(serving, head, *broken.partition(b"\r\n\r\n")),
        _talk(serving, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", head + broken).partition(b"}")[2],
    ]
    for answer in refused:
        _is_refusal(answer, 400, "BAD_REQUEST")


def test_what_follows_a_whole_request_is_not_answered_in_its_place(serving: Usersvc) -> None:
    login = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%s" % (len(login), login)
    assert b"400" not in _talk(serving, request + b"GARBAGE\r\n\r\n")
    too_large = head + b"Transfer-Encoding: chunked\r\n\r\n11000\r\n%s\r\n" % (b" " * 0x11000)
    answer = _talk(serving, too_large, b"zz\r\n")
    _is_refusal(answer, 413, "BODY_TOO_LARGE")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_comes_too_slowly_is_refused_and_the_log_says_so(
    usersvc: Usersvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = usersvc.folder / "impatient.py"
    impatient.write_text(
        "from usersvc.api import protocol\n"
        "from usersvc.cli.app import main\n"
        "protocol.BODY_SECONDS = 0.5\n"
        "main()\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(processes, "USERSVC", [sys.executable, str(impatient)])
    head = b"POST /api/v1/auth/logout HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow-one\r\n"
    with usersvc.serving() as server:
        for framing in (b"Content-Length: 20\r\n", b"Transfer-Encoding: chunked\r\n"):
            answer = _talk(usersvc, head + framing + b"Content-Type: application/json\r\n\r\n")
            _is_refusal(answer, 408, "REQUEST_TIMEOUT")
            assert b"X-Request-ID: slow-one\r\n" in answer
        server.wait_until(lambda: server.output.count("slow-one") == 2, "both are logged")
        lines = [json.loads(line) for line in server.output.splitlines() if "slow-one" in line]
        assert [line["status"] for line in lines] == [408, 408]
        assert "Traceback" not in server.output


def test_headers_without_an_end_are_refused_before_they_fill_the_memory(serving: Usersvc) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "
    _is_refusal(_talk(serving, start, b"a" * 10_000, b"a" * 10_000), 431, "HEADERS_TOO_LARGE")


def test_large_headers_are_refused_when_they_come_at_once_too(serving: Usersvc) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 17_000 + b"\r\n\r\n"
    _is_refusal(_talk(serving, request), 431, "HEADERS_TOO_LARGE")
    many = b"".join(b"X-%d: a\r\n" % number for number in range(2000))
    _is_refusal(
        _talk(serving, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n"), 431, "HEADERS_TOO_LARGE"
    )
    fine = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 15_000 + b"\r\n\r\n"
    assert _talk(serving, fine).startswith(b"HTTP/1.1 200")


def test_a47_who_sends_slowly_is_let_go_and_others_are_served(serving: Usersvc) -> None:
    slow = [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(100)]
    try:
        for connection in slow[:50]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(5):
            assert serving.get("/healthz").status_code == 200
        for connection in slow:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(65536)
        for number, connection in enumerate(slow):
            connection.settimeout(PATIENCE_SECONDS)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 408") if number < 50 else answer == b""
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_that_no_connection_can_be_taken_is_logged_and_fills_no_log(
    usersvc: Usersvc, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    program = usersvc.folder / "program.py"
    without_uvloop = "sys.modules['uvloop'] = None\n" if loop == "asyncio" else ""
    program.write_text(
        f"import sys\n{without_uvloop}from usersvc.cli.app import main\nmain()\n", encoding="utf-8"
    )
    monkeypatch.setattr(processes, "USERSVC", [sys.executable, str(program)])
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with usersvc.serving() as server, ExitStack() as stack:
        most = len(os.listdir(f"/proc/{server.process.pid}/fd")) + 10
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", usersvc.port)))
        server.wait_until(lambda: "no file descriptor is left" in server.output, "it is logged")
        time.sleep(1)
        assert server.output.count("no file descriptor is left") == 1
        assert "Traceback" not in server.output
        stack.close()
        server.wait_until(lambda: _talk(usersvc, last).startswith(b"HTTP/1.1 200"), "it serves again")
        assert server.stop() == 0


def test_half_a_body_changes_nothing(alone: Usersvc) -> None:
    """Cut off, a form still looks whole: its password would be another one than was typed."""
    for password in (PASSWORD, OTHER_PASSWORD):
        alone.post("/users", {"email": EMAIL, "password": password})
    [mail] = eventually(alone.mails)
    form = f"token={token_in_file(mail)}&password=marble+92+otter".encode()
    head = b"POST /activate HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(form), form)
    counted = head + b"Content-Length: %d\r\n\r\n%s" % (len(form) + 4, form)
    for request in (chunked, counted):
        assert b" 200 " not in _talk(alone, request, end=True)
    with sqlite3.connect(alone.database) as connection:
        assert connection.execute("SELECT status, password_hash FROM users").fetchall() == [("pending", None)]
    connection.close()


def test_a_target_that_is_a_whole_url_names_the_host(usersvc: Usersvc) -> None:
    usersvc.environ["USERSVC_SERVER__ALLOWED_HOSTS"] = "127.0.0.1, ::1"
    with usersvc.serving():
        for target, header, status in (
            (b"http://evil.example.net/x", b"127.0.0.1", b"421"),
            (b"http://127.0.0.1@evil.example.net:80/x", b"127.0.0.1", b"421"),
            (b"http://127.0.0.1/x", b"evil.example.net", b"404"),
            (b"http://[::1]:80/x", b"127.0.0.1", b"404"),
            (b"http://127.0.0.1/x", b"a\r\nHost: b", b"400"),
        ):
            request = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, header)
            assert _talk(usersvc, request).startswith(b"HTTP/1.1 " + status), target


def test_pipelined_requests_are_answered_in_order(serving: Usersvc) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = _talk(serving, request * 20 + last)
    assert answer.count(b"HTTP/1.1 200") == 20
    assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200")


def test_head_is_answered_as_get_without_a_body(serving: Usersvc) -> None:
    for path in ("/healthz", "/docs", "/activate", "/api/v1/users/me"):
        head = httpx2.head(serving.url + path)
        assert head.status_code == httpx2.get(serving.url + path).status_code
        assert head.content == b""


def test_a_locked_queue_makes_nobody_wait(serving: Usersvc) -> None:
    other = sqlite3.connect(serving.folder / "data" / "queue.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def ask(number: int) -> float:
        """How long ten at once took."""
        begun = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            bodies = [{"email": f"u{number}.{each}@example.org"} for each in range(10)]
            answers = pool.map(lambda body: serving.post("/auth/resend-activation", body), bodies)
            assert {answer.status_code for answer in answers} == {202}
        return time.monotonic() - begun

    try:
        # Waiting would take five seconds each time; a machine that is busy is so now and then.
        assert any(ask(number) < 4 for number in range(5))
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_database_that_is_gone_takes_no_more_writes_and_is_not_made_anew(alone: Usersvc) -> None:
    assert alone.post("/users", {"email": EMAIL, "password": PASSWORD}).status_code == 202
    eventually(alone.mails)
    for path in (alone.folder / "data").glob("usersvc.db*"):
        path.unlink()
    together = threading.Barrier(10)

    def register(number: int) -> int:
        together.wait()
        return alone.post("/users", {"email": f"u{number}@example.org", "password": PASSWORD}).status_code

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(register, range(10))) == {503}
    assert not alone.database.exists()
    assert httpx2.get(f"{alone.url}/healthz").status_code == 200


def test_of_two_servers_on_one_port_one_is_told(usersvc: Usersvc, tmp_path: Path) -> None:
    other = Usersvc(tmp_path / "other")
    other.folder.mkdir()
    other.environ["USERSVC_SERVER__PORT"] = str(usersvc.port)
    with usersvc.running("serve") as first, other.running("serve") as second:
        eventually(lambda: first.process.poll() is not None or second.process.poll() is not None)
        ended = [process for process in (first, second) if process.process.poll() is not None]
        assert [process.process.returncode for process in ended] == [8]
        assert "already" in ended[0].output


def test_a_child_that_cannot_start_ends_the_parent(usersvc: Usersvc) -> None:
    with usersvc.serving("--workers", "2") as server:
        (usersvc.folder / "data" / "secret.key").rename(usersvc.folder / "secret.key")
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        for child in children:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                os.kill(int(child), signal.SIGKILL)
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 8
        assert "the secret key is missing" in server.output
        assert "Traceback" not in server.output


def test_a_damaged_queue_is_told_with_the_remedy(usersvc: Usersvc) -> None:
    usersvc.run("migrate")
    (usersvc.folder / "data" / "queue.db").write_bytes(b"no queue" * 5000)
    found = usersvc.run("serve", check=8)
    assert "delete it" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_queue_that_somebody_else_holds_is_told_in_one_line(usersvc: Usersvc) -> None:
    usersvc.run("migrate")
    settings = settings_for(usersvc.folder / "data")
    make_queue(settings)
    holder = sqlite3.connect(settings.queue_path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        found = usersvc.run("worker", check=8)
    finally:
        holder.close()
    [told] = [line for line in found.stderr.splitlines() if line.startswith("Error: ")]
    assert "Another program holds it" in told
    assert "delete" not in told
    assert "Traceback" not in found.stderr
