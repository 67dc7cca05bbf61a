"""Mail servers for tests: aiosmtpd with scripted answers, and sockets that answer whatever a test wants."""

import asyncio
import contextlib
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

from usersvc.mail.messages import Messages
from usersvc.mail.smtp import SmtpTransport

SENDER = "no-reply@example.org"
Answers = dict[str, str | list[str | None]]


@dataclass(frozen=True)
class Received:
    """A mail as the server got it, and how."""

    greeting: str
    sender: str
    recipients: list[str]
    content: bytes
    over_tls: bool

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        assert parsed.defects == []
        return parsed


@dataclass
class MailServer:
    """What a server met, and its answers: by step, the same always or (a list) one after the other.

    Steps are EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA (to the command) and CONTENT; None is the usual answer.
    """

    login: tuple[str, str] | None = None
    answers: Answers = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, step: str) -> str | None:
        self.commands.append(step)
        scripted = self.answers.get(step)
        if isinstance(scripted, list):
            return scripted.pop(0) if scripted else None
        return scripted

    def authenticate(self, _server: SMTP, _session: Any, _envelope: Any, _how: str, given: Any) -> AuthResult:
        if answer := self.answer("AUTH"):
            return AuthResult(success=False, handled=False, message=answer)
        right = (given.login.decode(), given.password.decode()) == self.login
        return AuthResult(success=right, handled=False)

    # The hooks of aiosmtpd.

    async def handle_EHLO(
        self, _server: SMTP, session: Any, _envelope: Any, name: str, usual: list[str]
    ) -> list[str]:
        session.host_name = name
        answer = self.answer("EHLO")
        return [answer] if answer else usual

    async def handle_MAIL(
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.answer("MAIL") or "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answer("RCPT") or "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:
        if refusal := self.answer("CONTENT"):
            return refusal
        self.received.append(
            Received(
                greeting=session.host_name,
                sender=envelope.mail_from,
                recipients=envelope.rcpt_tos,
                content=envelope.original_content,
                over_tls=session.ssl is not None,
            )
        )
        return "250 OK"

    async def handle_QUIT(self, _server: SMTP, _session: Any, _envelope: Any) -> str:
        return self.answer("QUIT") or "221 Bye"


_Kind = TypeVar("_Kind", bound=MailServer)


class _Smtp(SMTP):
    """With answers for what aiosmtpd has no hooks."""

    async def smtp_STARTTLS(self, arg: str) -> None:
        if answer := self.event_handler.answer("STARTTLS"):
            await self.push(answer)
        else:
            await super().smtp_STARTTLS(arg)

    async def smtp_DATA(self, arg: str) -> None:
        if answer := self.event_handler.answer("DATA"):
            await self.push(answer)
        else:
            await super().smtp_DATA(arg)


@contextmanager
def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    answers: Answers | None = None,
    methods: str = "LOGIN PLAIN",
    kind: type[_Kind] = MailServer,
) -> Iterator[_Kind]:
    """A server on a port of its own, that listens when the block begins; without TLS if none is given."""
    server = kind(login=login, answers=answers or {})
    started, finished = threading.Event(), threading.Event()

    def one_connection() -> SMTP:
        return _Smtp(
            server,
            hostname="mail.example.org",
            tls_context=starttls,
            authenticator=server.authenticate,
            auth_require_tls=starttls is not None,
            auth_exclude_mechanism={"LOGIN", "PLAIN"} - set(methods.split()),
            loop=asyncio.get_running_loop(),
        )

    async def serve() -> None:
        connections: list[SMTP] = []
        listener = await asyncio.get_running_loop().create_server(
            lambda: connections.append(one_connection()) or connections[-1], "127.0.0.1", 0, ssl=tls
        )
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        await asyncio.to_thread(finished.wait)
        listener.close()
        for connection in connections:
            if connection.transport:
                connection.transport.abort()
        while any(connection.transport for connection in connections):
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield server
    finally:
        finished.set()
        thread.join(30)


@contextmanager
def raw_server(talk: Callable[[socket.socket], None], *, port: int = 0) -> Iterator[int]:
    """A port, any unless one is named, on which every connection is talked to like this; one at a time."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection, contextlib.suppress(OSError):
                talk(connection)

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What the client says, up to the line that begins with `end`; empty where it hangs up."""
    heard = b""
    while not (heard.endswith(b"\r\n") and heard.splitlines()[-1].startswith(end)):
        more = connection.recv(4096)
        if not more:
            return b""
        heard += more
    return heard


def until_it_hangs_up(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def certificate(authority: trustme.CA, *names: str, until: datetime | None = None) -> ssl.SSLContext:
    """For a server that is called so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=until).configure_cert(context)
    return context


def ca_file(authority: trustme.CA, folder: Path) -> Path:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(path)
    path.chmod(0o600)
    return path


def a_message(to: str = "ada@example.org", templates: Path | None = None) -> EmailMessage:
    return Messages(templates, sender=f"Example Accounts <{SENDER}>").render(
        "test",
        {"host": "users.example.org"},
        locale="en",
        to=to,
        message_id="<1.test@users.example.org>",
        at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def transport(port: int, **values: object) -> SmtpTransport:
    given = {"security": "none", "sender": SENDER, "greeting": "users.example.org"} | values
    return SmtpTransport("127.0.0.1", port, **given)  # type: ignore[arg-type]
