"""Each transport checked without a mail: in real conversations with a mail server, and on real folders."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.processes import free_port
from tests.smtp import certificate, mail_server, raw_server, transport, until_it_hangs_up
from usersvc.mail.errors import LoginRefused, NotSent
from usersvc.mail.transports import ConsoleTransport, FileTransport

LOGIN = {"username": "mailer", "password": "right horse battery"}


def test_it_logs_in_and_sends_nothing(tls: ssl.SSLContext, ca: Path) -> None:
    with mail_server(starttls=tls, login=(LOGIN["username"], LOGIN["password"])) as server:
        found = transport(server.port, security="starttls", ca_file=ca, **LOGIN).check()
    assert found.where == f"127.0.0.1:{server.port}"
    assert server.commands == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"]
    assert server.received == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_tells_until_when_the_certificate_holds(authority: trustme.CA, ca: Path, security: str) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    context = certificate(authority, "127.0.0.1", until=until)
    with mail_server(**{security: context}) as server:
        found = transport(server.port, security=security, ca_file=ca).check()
    assert found.certificate_until == until


def test_in_the_clear_there_is_no_certificate() -> None:
    with mail_server() as server:
        assert transport(server.port).check().certificate_until is None


def test_what_is_in_the_way_is_told_as_when_sending(tls: ssl.SSLContext, ca: Path) -> None:
    with pytest.raises(NotSent):
        transport(free_port()).check()
    with mail_server(login=("mailer", "another")) as server, pytest.raises(LoginRefused, match="AUTH"):
        transport(server.port, **LOGIN).check()
    with mail_server() as server, pytest.raises(NotSent, match="STARTTLS"):
        transport(server.port, security="starttls", ca_file=ca).check()
    with mail_server(tls=tls) as server, pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
        transport(server.port, security="tls").check()


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_connecting_may_take() -> None:
    def say_nothing(connection: socket.socket) -> None:
        until_it_hangs_up(connection)

    with raw_server(say_nothing) as port, pytest.raises(NotSent, match=r"0\.2 s"):
        transport(port, connect_seconds=0.2).check()


def test_a_server_that_never_ends_the_login_is_not_waited_for_as_long_as_a_mail_may_take() -> None:
    def greet_and_stop(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example.org\r\n")
        connection.recv(4096)
        connection.sendall(b"250-mail.example.org\r\n250 AUTH PLAIN\r\n")
        until_it_hangs_up(connection)

    with raw_server(greet_and_stop) as port, pytest.raises(NotSent, match=r"longer than 0\.5 s"):
        transport(port, connect_seconds=0.5, seconds=3600, **LOGIN).check()


def test_a_folder_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mail"
    assert FileTransport(folder).check().where == f"files in {folder}"
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    FileTransport(folder).check()
    assert list(folder.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("no folder")
    with pytest.raises(NotSent, match="mail cannot be written"):
        FileTransport(tmp_path / "mail").check()


def test_the_console_is_always_there() -> None:
    assert ConsoleTransport().check().where == "the console"
