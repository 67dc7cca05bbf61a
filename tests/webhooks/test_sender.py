"""One POST, to servers that are as real as a test can have them, on this machine alone."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest
import trustme

from tests.processes import free_port
from tests.receivers import HERE, ScriptedResolver, receiver, speaking
from tests.smtp import ca_file, certificate
from usersvc.webhooks.endpoints import Allowed
from usersvc.webhooks.outcome import Outcome
from usersvc.webhooks.sender import Resolver, Sender

HEADERS = {"webhook-id": "1"}


def sent(
    url: str, *, networks: str = HERE, resolver: Resolver | None = None, seconds: float = 10, **more: Path
) -> Outcome:
    return Sender(Allowed(networks), seconds=seconds, resolver=resolver, **more).send(url, HEADERS, b"{}")


def test_a_post_arrives_with_its_path_host_and_body() -> None:
    with receiver() as met:
        assert sent(met.url) == Outcome("204", 204)
    [got] = met.received
    assert (got.target, got.body) == ("/hook?key=hidden", b"{}")
    assert got.headers == {
        "host": f"127.0.0.1:{met.port}",
        "content-type": "application/json",
        "content-length": "2",
        "user-agent": "usersvc",
        "connection": "close",
        "webhook-id": "1",
    }


def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(tmp_path: Path) -> None:
    """Whoever owns the name answers with another address a moment later."""
    authority = trustme.CA()
    resolver = ScriptedResolver(["127.0.0.1"], ["169.254.169.254"])
    with receiver(tls=certificate(authority, "receiver.example")) as met:
        url = f"https://receiver.example:{met.port}/x"
        assert sent(url, resolver=resolver, ca_file=ca_file(authority, tmp_path)).is_accepted
        assert sent(url, resolver=resolver).word == "address not allowed"
    assert resolver.asked == ["receiver.example"] * 2
    assert [got.headers["host"] for got in met.received] == [f"receiver.example:{met.port}"]


def test_of_several_addresses_only_those_that_are_allowed_are_tried() -> None:
    with receiver() as met:
        resolver = ScriptedResolver(["10.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"])
        assert sent(
            f"http://receiver.example:{met.port}/", networks="127.0.0.1", resolver=resolver
        ).is_accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_reached_unless_the_settings_name_it(host: str) -> None:
    with receiver() as met:
        for scheme in ("http", "https"):
            assert sent(f"{scheme}://{host}:{met.port}/", networks="").word == "address not allowed"
    assert met.received == []


def test_a_redirect_is_not_followed_and_no_proxy_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as other, receiver() as met:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
        for status in (301, 302, 307, 308):
            met.answer(status, location=other.url)
            outcome = sent(met.url)
            assert (outcome.word, outcome.is_accepted) == (str(status), False)
    assert len(met.received) == 4
    assert other.received == []


def test_a_certificate_has_to_be_of_the_name_and_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = ca_file(authority, tmp_path)
    resolver = ScriptedResolver(["127.0.0.1"])
    with receiver(tls=certificate(authority, "other.example")) as met:
        wrong_name = f"https://receiver.example:{met.port}/"
        assert sent(wrong_name, resolver=resolver, ca_file=trusted).word == "certificate not trusted"
        right_name = f"https://other.example:{met.port}/"
        assert sent(right_name, resolver=resolver).word == "certificate not trusted"
    assert met.received == []
    with receiver() as met:
        assert sent(f"https://other.example:{met.port}/", resolver=resolver).word == "no tls"


def _dribble(connection: socket.socket, over: threading.Event) -> None:
    """A byte now and then: each of them in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not over.wait(0.05):
        connection.sendall(b"x")


def _be_silent(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def _say_wait(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


@pytest.mark.parametrize("talk", [_dribble, _be_silent, _say_wait])
def test_a_slow_receiver_is_left_when_the_time_is_over(talk: object) -> None:
    with speaking(talk) as port:  # type: ignore[arg-type]
        assert sent(f"http://127.0.0.1:{port}/", seconds=0.4).word == "timed out"


def test_a_slow_handshake_and_a_slow_name_are_left_too() -> None:
    class Slow:
        async def addresses(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(60)
            return []

    with speaking(_be_silent) as port:
        resolver = ScriptedResolver(["127.0.0.1"])
        assert sent(f"https://receiver.example:{port}/", resolver=resolver, seconds=0.4).word == "timed out"
    assert sent("https://receiver.example/", resolver=Slow(), seconds=0.2).word == "timed out"


def _answer(answer: bytes) -> object:
    def talk(connection: socket.socket, _over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return talk


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"", "no http answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no http answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000, "no http answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n" + b"x" * 100_000, "200"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", "200"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", "202"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + b"HTTP/1.1 202 Accepted\r\n\r\n", "no http answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no http answer"),
    ],
)
def test_of_an_answer_the_status_counts(answer: bytes, word: str) -> None:
    with speaking(_answer(answer)) as port:  # type: ignore[arg-type]
        assert sent(f"http://127.0.0.1:{port}/").word == word


@pytest.mark.parametrize(
    ("status", "given", "seconds"),
    [
        (503, "120", 120),
        (429, "7", 7),
        (503, "999999", 6 * 3600),
        (503, "-5", 0),
        (503, "Wed, 21 Oct 2037 07:28:00 GMT", 0),
        (503, "9" * 400, 0),
        (500, "120", 0),
    ],
)
def test_a_receiver_may_ask_for_time_within_bounds(status: int, given: str, seconds: int) -> None:
    with receiver() as met:
        met.answer(status, retry_after=given)
        assert sent(met.url).retry_after == seconds


def test_why_nobody_was_reached_is_told_in_our_own_words() -> None:
    assert sent(f"http://127.0.0.1:{free_port()}/").word == "not connected"
    assert sent("https://receiver.invalid/").word == "no such host"
    assert sent("gopher://127.0.0.1/").word == "invalid url"
