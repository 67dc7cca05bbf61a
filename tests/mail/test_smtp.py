"""Mail by SMTP, in real conversations: what arrives, TLS, login, and all of it out of the settings."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from tests.conftest import settings_for
from tests.factories import text_of
from tests.smtp import (
    SENDER,
    MailServer,
    a_message,
    certificate,
    mail_server,
    raw_server,
    read_until,
    transport,
    until_it_hangs_up,
)
from usersvc.mail.errors import LoginRefused, NotSent
from usersvc.mail.smtp import SmtpTransport
from usersvc.mail.transports import transport_from

LOGIN = ("mailer", "pa$$ word: ümlaut")


def logging_in(server: MailServer, **values: object) -> SmtpTransport:
    return transport(server.port, username=LOGIN[0], password=LOGIN[1], **values)


# -- what arrives


def test_a_mail_arrives_with_its_envelope_its_headers_and_both_parts() -> None:
    with mail_server() as server:
        assert transport(server.port).send(a_message()) == f"127.0.0.1:{server.port}"
    [mail] = server.received
    assert (mail.sender, mail.recipients) == (SENDER, ["ada@example.org"])
    assert mail.greeting == "users.example.org"
    message = mail.message
    assert message["From"] == f"Example Accounts <{SENDER}>"
    assert message["To"] == "ada@example.org"
    assert message["Message-ID"] == "<1.test@users.example.org>"
    assert message["Subject"] == "Test mail from users.example.org"
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert (message["Cc"], message["Bcc"]) == (None, None)
    assert text_of(message).startswith("Hello,")
    assert server.commands == ["EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "QUIT"]


def test_each_mail_has_a_connection_of_its_own() -> None:
    with mail_server() as server:
        own = transport(server.port)
        for name in ("ada", "bob"):
            own.send(a_message(f"{name}@example.org"))
    assert [mail.recipients for mail in server.received] == [["ada@example.org"], ["bob@example.org"]]
    assert server.commands.count("EHLO") == server.commands.count("QUIT") == 2


def test_several_threads_send_at_once() -> None:
    with mail_server() as server:
        own = transport(server.port)
        threads = [
            threading.Thread(target=own.send, args=(a_message(f"{number}@example.org"),))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(mail.recipients for mail in server.received) == [[f"{n}@example.org"] for n in range(8)]


def test_text_beyond_ascii_arrives_though_the_server_takes_ascii_alone(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("Grüße\n\nÖffnen ✓\n.\n..zwei Punkte\n", encoding="utf-8")
    with mail_server() as server:
        transport(server.port).send(a_message(templates=tmp_path))
    [mail] = server.received
    assert mail.content.isascii()
    assert mail.message["Subject"] == "Grüße"
    assert text_of(mail.message).splitlines() == ["Öffnen ✓", ".", "..zwei Punkte"]


@pytest.mark.parametrize(
    ("to", "recipient"),
    [
        ("o'hara+news@example.org", "o'hara+news@example.org"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a, b@example.org", '"a, b"@example.org'),
        ("a> <b@example.org", '"a> <b"@example.org'),
    ],
)
def test_an_unusual_recipient_is_still_one(to: str, recipient: str) -> None:
    with mail_server() as server:
        transport(server.port).send(a_message(to))
    assert [mail.recipients for mail in server.received] == [[recipient]]


def test_a07_a_mail_goes_to_the_one_address_of_to_and_nowhere_else() -> None:
    message = a_message()
    message["Cc"] = "cc@example.org"
    message["Bcc"] = "bcc@example.org"
    message["Sender"] = "somebody@example.org"
    with mail_server() as server:
        transport(server.port).send(message)
        several = a_message()
        del several["To"]
        several["To"] = "ada@example.org, bob@example.org"
        with pytest.raises(ValueError, match="too many values"):
            transport(server.port).send(several)
    assert [(mail.sender, mail.recipients) for mail in server.received] == [(SENDER, ["ada@example.org"])]


def test_a07_a_recipient_cannot_add_commands() -> None:
    message = a_message()
    del message["To"]
    message["To"] = '"x>\\\tRCPT TO:<evil@example.org"@example.org'
    with mail_server() as server, pytest.raises(ValueError, match="prohibited"):
        transport(server.port).send(message)
    assert server.received == []
    assert "RCPT" not in server.commands


# -- TLS


def test_starttls_comes_before_anything_is_told(tls: ssl.SSLContext, ca: Path) -> None:
    with mail_server(starttls=tls, login=LOGIN) as server:
        logging_in(server, security="starttls", ca_file=ca).send(a_message())
    [mail] = server.received
    assert mail.over_tls
    assert server.commands[:5] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]


def test_tls_from_the_first_byte(tls: ssl.SSLContext, ca: Path) -> None:
    with mail_server(tls=tls, login=LOGIN) as server:
        logging_in(server, security="tls", ca_file=ca).send(a_message())
    assert len(server.received) == 1
    assert server.commands[:2] == ["EHLO", "AUTH"]


def test_r09_without_starttls_offered_nothing_goes_on_in_the_clear(ca: Path) -> None:
    with (
        mail_server(login=LOGIN) as server,
        pytest.raises(NotSent, match="STARTTLS extension not supported"),
    ):
        logging_in(server, security="starttls", ca_file=ca).send(a_message())
    assert server.commands == ["EHLO", "QUIT"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("names", "trusted", "why"),
    [
        (["127.0.0.1"], False, "unable to get local issuer certificate"),
        (["mail.example.org", "127.0.0.2"], True, "IP address mismatch"),
    ],
    ids=["untrusted", "wrong name"],
)
def test_r09_a_certificate_that_is_not_the_servers_ends_the_conversation(
    authority: trustme.CA, ca: Path, *, security: str, names: list[str], trusted: bool, why: str
) -> None:
    wrong = certificate(authority, *names)
    with mail_server(**{security: wrong}, login=LOGIN) as server, pytest.raises(NotSent, match=why):
        logging_in(server, security=security, ca_file=ca if trusted else None).send(a_message())
    assert not {"AUTH", "MAIL"} & set(server.commands)


def test_a_host_name_is_checked_as_the_name_it_was_given(authority: trustme.CA, ca: Path) -> None:
    own = {"security": "tls", "sender": SENDER, "greeting": "x", "ca_file": ca}
    with mail_server(tls=certificate(authority, "localhost")) as server:
        SmtpTransport("localhost", server.port, **own).send(a_message())
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
            SmtpTransport("127.0.0.1", server.port, **own).send(a_message())
    assert len(server.received) == 1


def test_words_slipped_in_before_tls_are_not_taken_for_the_servers(tls: ssl.SSLContext, ca: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        read_until(connection, b"EHLO")
        connection.sendall(b"250-here\r\n250 STARTTLS\r\n")
        read_until(connection, b"STARTTLS")
        connection.sendall(b"220 go on\r\n250-here\r\n250 AUTH PLAIN\r\n")
        with tls.wrap_socket(connection, server_side=True) as secured:
            read_until(secured, b"EHLO")
            secured.sendall(b"250 here\r\n")
            until_it_hangs_up(secured)

    with raw_server(talk) as port:
        own = transport(port, security="starttls", ca_file=ca, username="mailer", password="secret")
        with pytest.raises(NotSent, match="AUTH extension is not supported"):
            own.send(a_message())


# -- login


@pytest.mark.parametrize("methods", ["PLAIN", "LOGIN", "LOGIN PLAIN"])
def test_the_right_login_is_taken_by_each_method(tls: ssl.SSLContext, ca: Path, methods: str) -> None:
    with mail_server(starttls=tls, login=LOGIN, methods=methods) as server:
        logging_in(server, security="starttls", ca_file=ca).send(a_message())
    assert len(server.received) == 1


def test_r08_a_wrong_login_is_tried_once_whatever_methods_there_are() -> None:
    with (
        mail_server(login=("mailer", "another")) as server,
        pytest.raises(LoginRefused, match=r"AUTH was answered with 535 5\.7\.8"),
    ):
        logging_in(server).send(a_message())
    assert server.commands == ["EHLO", "AUTH", "QUIT"]


def test_after_a_refused_login_nobody_logs_in_for_a_while() -> None:
    with mail_server(login=("mailer", "another")) as server:
        own, other = logging_in(server), logging_in(server, login_pause_seconds=0)
        for again in (own, own, other, other):
            with pytest.raises(LoginRefused, match="535"):
                again.send(a_message())
    assert server.commands.count("AUTH") == 3


def test_a_login_that_the_server_puts_off_is_no_refusal() -> None:
    with mail_server(login=LOGIN, answers={"AUTH": ["454 4.7.0 later", None]}) as server:
        own = logging_in(server)
        with pytest.raises(NotSent, match="AUTH was answered with 454"):
            own.send(a_message())
        own.send(a_message())
    assert len(server.received) == 1


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
def test_a23_a_server_that_repeats_the_password_does_not_bring_it_into_what_is_kept(method: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        read_until(connection, b"EHLO")
        connection.sendall(b"250-here\r\n250 AUTH " + method.encode() + b"\r\n")
        said = read_until(connection, b"AUTH")
        if method == "LOGIN":
            connection.sendall(b"334 UGFzc3dvcmQ6\r\n")
            said = connection.recv(4096)
        secret = said.split()[-1]
        connection.sendall(b"535-" + LOGIN[1].encode() + b" is wrong\r\n535 in: " + secret + b"\r\n")
        until_it_hangs_up(connection)

    with raw_server(talk) as port, pytest.raises(LoginRefused) as caught:
        transport(port, username=LOGIN[0], password=LOGIN[1]).send(a_message())
    assert str(caught.value) == "AUTH was answered with 535 *** is wrong in: ***"
    assert caught.value.__cause__ is None


# -- out of the settings


SMTP = {
    "mail__transport": "smtp",
    "mail__smtp_host": "127.0.0.1",
    "mail__smtp_security": "none",
    "mail__from_address": f"Example <{SENDER}>",
}


def test_the_transport_of_the_settings_sends_as_they_say(
    tmp_path: Path, tls: ssl.SSLContext, ca: Path
) -> None:
    with mail_server(starttls=tls, login=LOGIN) as server:
        settings = settings_for(
            tmp_path,
            **SMTP
            | {
                "mail__smtp_port": server.port,
                "mail__smtp_security": "starttls",
                "mail__smtp_ca_file": ca,
                "mail__smtp_username": LOGIN[0],
                "mail__smtp_password": LOGIN[1],
            },
        )
        assert transport_from(settings).send(a_message()) == f"127.0.0.1:{server.port}"
    [mail] = server.received
    assert mail.over_tls
    assert mail.sender == SENDER


@pytest.mark.parametrize(
    ("public_url", "greeting"),
    [
        ("https://users.example.org:8443/accounts", "users.example.org"),
        ("http://127.0.0.1:8000", "[127.0.0.1]"),
        ("http://[::1]:8000", "[IPv6:::1]"),
    ],
)
def test_the_server_is_greeted_with_the_public_host(tmp_path: Path, public_url: str, greeting: str) -> None:
    with mail_server() as server:
        values = SMTP | {"mail__smtp_port": server.port, "server__public_url": public_url}
        transport_from(settings_for(tmp_path, **values)).send(a_message())
    assert [mail.greeting for mail in server.received] == [greeting]
