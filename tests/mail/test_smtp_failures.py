"""SMTP servers that refuse, fall silent or hang up: what another try can help, and how long it may take."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.smtp import (
    SENDER,
    a_message,
    mail_server,
    raw_server,
    read_until,
    transport,
    until_it_hangs_up,
)
from usersvc.mail.errors import MailRefused, NotSent
from usersvc.mail.smtp import SmtpTransport

# -- refused


@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("EHLO", "451 later", NotSent),
        ("EHLO", "550 never", NotSent),
        ("EHLO", "421 closing", NotSent),
        ("MAIL", "451 later", NotSent),
        ("MAIL", "550 never", NotSent),
        ("MAIL", "530 log in first", NotSent),
        ("RCPT", "450 mailbox busy", NotSent),
        ("RCPT", "421 closing", NotSent),
        ("RCPT", "550 no such user", MailRefused),
        ("RCPT", "599 never", MailRefused),
        ("RCPT", "530 log in first", NotSent),
        ("DATA", "451 later", NotSent),
        ("DATA", "554 no valid recipients", MailRefused),
        ("CONTENT", "452 no room", NotSent),
        ("CONTENT", "421 closing", NotSent),
        ("CONTENT", "554 this is spam", MailRefused),
        ("CONTENT", "252 perhaps", NotSent),
    ],
)
def test_r08_what_a_step_is_answered_with_decides_whether_there_is_another_try(
    step: str, answer: str, error: type[Exception]
) -> None:
    with (
        mail_server(answers={step: answer}) as server,
        pytest.raises(error, match=f"was answered with {answer}") as caught,
    ):
        transport(server.port).send(a_message())
    assert type(caught.value) is error
    assert server.received == []


@pytest.mark.parametrize("answer", ["454 later", "554 never"])
def test_r09_starttls_refused_is_tried_again(tls: ssl.SSLContext, ca: Path, answer: str) -> None:
    with (
        mail_server(starttls=tls, answers={"STARTTLS": answer}) as server,
        pytest.raises(NotSent, match=f"STARTTLS was answered with {answer}"),
    ):
        transport(server.port, security="starttls", ca_file=ca).send(a_message())
    assert "MAIL" not in server.commands


def answering(*lines: bytes) -> Callable[[socket.socket], None]:
    """A server that greets with this and says no more."""

    def talk(connection: socket.socket) -> None:
        for line in lines:
            connection.sendall(line)
        until_it_hangs_up(connection)

    return talk


@pytest.mark.parametrize(
    "greeting", [b"421 busy\r\n", b"554 go away\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"220-" + b"x" * 50_000]
)
def test_r08_a_greeting_that_is_none_is_tried_again(greeting: bytes) -> None:
    with raw_server(answering(greeting)) as port, pytest.raises(NotSent, match="answered with"):
        transport(port).send(a_message())


def test_what_a_server_says_is_kept_short_in_one_line_and_without_addresses() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"554-\x1b[31m<ada@example.org>\xff\x00\r\n")
        connection.sendall(b"554-no\r\n" * 200 + b"554 " + b"x" * 500 + b"\r\n")
        until_it_hangs_up(connection)

    with raw_server(talk) as port, pytest.raises(NotSent) as caught:
        transport(port).send(a_message())
    text = str(caught.value)
    assert text.isprintable()
    assert "<a***@example.org>" in text
    assert len(text) <= 300


# -- nobody there, or nobody who answers


def test_r06_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotSent, match=rf"^no connection to 127\.0\.0\.1:{port}: Connection refused$"):
        transport(port).send(a_message())


def test_a_reason_that_several_addresses_have_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def two(*_: object, **__: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.1", "127.0.0.2")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    own = SmtpTransport("mail.example.org", port, security="none", sender=SENDER, greeting="x")
    with pytest.raises(NotSent, match=rf"^no connection to mail\.example\.org:{port}: Connection refused$"):
        own.send(a_message())


def test_a_host_that_does_not_exist() -> None:
    own = SmtpTransport("mail.invalid", 25, security="none", sender=SENDER, greeting="x")
    with pytest.raises(NotSent, match=r"^no connection to mail\.invalid:25: [A-Z][a-z ]+$"):
        own.send(a_message())


def test_a_name_server_that_does_not_answer_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer comes after the sending has been given up, and is not waited for."""
    answer, asked = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        asked.set()
        answer.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    own = SmtpTransport(
        "mail.example.org", 25, security="none", sender=SENDER, greeting="x", connect_seconds=0.1
    )
    try:
        with pytest.raises(NotSent, match=r"no connection to mail.example.org:25 within 0.1 s"):
            own.send(a_message())
        assert asked.is_set()
        assert not answer.is_set()
    finally:
        answer.set()


@pytest.mark.parametrize("security", ["none", "tls"])
def test_r07_a_server_that_never_says_a_word_is_left(security: str) -> None:
    with (
        raw_server(until_it_hangs_up) as port,
        pytest.raises(NotSent, match=r"no connection to 127.0.0.1:\d+ within 0.2 s"),
    ):
        transport(port, security=security, connect_seconds=0.2).send(a_message())


def test_r07_a_server_that_falls_silent_in_the_tls_handshake_is_left() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        read_until(connection, b"EHLO")
        connection.sendall(b"250-here\r\n250 STARTTLS\r\n")
        read_until(connection, b"STARTTLS")
        connection.sendall(b"220 go on\r\n")
        until_it_hangs_up(connection)

    with (
        raw_server(talk) as port,
        pytest.raises(NotSent, match=r"no connection to 127.0.0.1:\d+ within 0.2 s"),
    ):
        transport(port, security="starttls", connect_seconds=0.2).send(a_message())


def dripping(connection: socket.socket, byte: bytes) -> None:
    """One byte now and then, until the client has enough."""
    while True:
        connection.sendall(byte)
        time.sleep(0.02)


def test_r07_a_greeting_that_drips_is_left_when_the_time_to_connect_is_over() -> None:
    with (
        raw_server(lambda connection: dripping(connection, b"2")) as port,
        pytest.raises(NotSent, match="no connection to"),
    ):
        transport(port, connect_seconds=0.3).send(a_message())


@pytest.mark.parametrize("drop", [b"2", b"250-wait\r\n"], ids=["bytes", "lines"])
def test_r07_a_conversation_that_drips_is_left_when_its_time_is_over(drop: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        read_until(connection, b"EHLO")
        connection.sendall(b"250 here\r\n")
        read_until(connection, b"MAIL")
        dripping(connection, drop)

    with raw_server(talk) as port, pytest.raises(NotSent, match=r"127.0.0.1:\d+ took longer than 0.5 s"):
        transport(port, seconds=0.5).send(a_message())


def test_r07_a_server_that_falls_silent_over_the_content_is_left() -> None:
    heard = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        for command, answer in CONVERSATION[:-1]:
            read_until(connection, command)
            connection.sendall(answer)
        heard.append(read_until(connection, b"."))
        until_it_hangs_up(connection)

    with raw_server(talk) as port, pytest.raises(NotSent, match=r"127.0.0.1:\d+ took longer than 0.5 s"):
        transport(port, seconds=0.5).send(a_message())
    assert b"Message-ID" in heard[0]


@pytest.mark.parametrize("last", [b"EHLO", b"MAIL", b"RCPT", b"DATA", b"."])
def test_r09_a_connection_that_is_dropped_is_tried_again(last: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        for command, answer in CONVERSATION:
            read_until(connection, command)
            if command == last:
                return
            connection.sendall(answer)

    with raw_server(talk) as port, pytest.raises(NotSent, match=r"Unexpected EOF|Connection lost"):
        transport(port).send(a_message())


CONVERSATION = [
    (b"EHLO", b"250 here\r\n"),
    (b"MAIL", b"250 ok\r\n"),
    (b"RCPT", b"250 ok\r\n"),
    (b"DATA", b"354 go on\r\n"),
    (b".", b"250 taken\r\n"),
]


@pytest.mark.parametrize(
    "ending",
    [
        lambda connection: None,
        until_it_hangs_up,
        lambda connection: connection.sendall(b"500 what?\r\n"),
    ],
    ids=["drops", "is silent", "complains"],
)
def test_a_mail_that_was_taken_is_sent_however_the_server_parts(
    ending: Callable[[socket.socket], None],
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        for command, answer in CONVERSATION:
            read_until(connection, command)
            connection.sendall(answer)
        ending(connection)

    with raw_server(talk) as port:
        # Nobody waits all that time for a goodbye.
        assert transport(port, seconds=600).send(a_message()) == f"127.0.0.1:{port}"
