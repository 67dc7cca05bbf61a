"""Mail handed to a server by SMTP (RFC 5321), one connection a mail, within a bounded time.

STARTTLS (RFC 3207) or TLS from the first byte (RFC 8314); the certificate is checked always, and
nothing goes on in the clear where the settings want TLS.
"""

import asyncio
import base64
import contextlib
import ipaddress
import os
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import aiosmtplib

from usersvc import logs
from usersvc.mail.errors import LoginRefused, MailRefused, NotSent
from usersvc.mail.route import Route
from usersvc.settings import Settings

_Heard = TypeVar("_Heard")

_GOODBYE_SECONDS = 2
_MOST_OF_A_REPLY = 300
# Authentication or encryption required (RFC 4954, RFC 3207): said of us, wherever it is said.
_NOT_LOGGED_IN = 530
_STEPS: dict[type[aiosmtplib.SMTPResponseException], str] = {
    aiosmtplib.SMTPConnectResponseError: "the greeting",
    aiosmtplib.SMTPHeloError: "EHLO",
    aiosmtplib.SMTPAuthenticationError: "AUTH",
    aiosmtplib.SMTPSenderRefused: "MAIL FROM",
    aiosmtplib.SMTPRecipientRefused: "RCPT TO",
    aiosmtplib.SMTPDataError: "DATA",
}


class SmtpTransport:
    """Sends through one server. `greeting` is what it calls itself in EHLO.

    `connect_seconds` bound TCP, greeting and TLS, `seconds` the whole conversation, also with a
    server that goes on answering a byte now and then. After a refused login nobody logs in for
    `login_pause_seconds`: providers lock accounts that fail again and again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: Literal["starttls", "tls", "none"],
        sender: str,
        greeting: str,
        username: str = "",
        password: str = "",
        ca_file: Path | None = None,
        connect_seconds: float = 10,
        seconds: float = 30,
        login_pause_seconds: float = 60,
    ) -> None:
        self._host, self._port, self._security = host, port, security
        self._sender, self._greeting = sender, greeting
        self._username, self._password = username, password
        self._ca_file = ca_file
        self._connect_seconds, self._seconds = connect_seconds, seconds
        self._login_pause_seconds = login_pause_seconds
        self._login_refused: tuple[float, str] | None = None

    def send(self, message: EmailMessage) -> str:
        """Raises NotSent, MailRefused, LoginRefused; ValueError where `To` is not one address.

        A server that takes the mail and is not heard in time gets it again, with its Message-ID.
        """
        [recipient] = message["To"].addresses

        async def hand_over(client: _Client) -> str:
            await client.mail(self._sender)
            await client.rcpt(recipient.addr_spec)
            await client.data(message.as_bytes())
            return self._where

        return self._talk(hand_over, self._seconds)

    def check(self) -> Route:
        """Connects, with TLS, and logs in as `send` does, in as much time as connecting may take."""

        async def look(client: _Client) -> Route:
            return Route(self._where, _certificate_end(client))

        return self._talk(look, self._connect_seconds)

    def _talk(self, about: Callable[["_Client"], Awaitable[_Heard]], seconds: float) -> _Heard:
        self._require_no_fresh_refusal()
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                return runner.run(self._converse(about, seconds))
        except (aiosmtplib.SMTPException, OSError) as error:
            # From None: what the library says may hold the password, as it stands.
            raise self._explained(error) from None

    @property
    def _where(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def _converse(self, about: Callable[["_Client"], Awaitable[_Heard]], seconds: float) -> _Heard:
        client = _Client(
            hostname=self._host,
            port=self._port,
            local_hostname=self._greeting,
            timeout=None,  # of single commands; those below bound them together
            use_tls=self._security == "tls",
            start_tls=False,
            tls_context=None if self._security == "none" else self._tls,
        )
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(end):
                await self._connect(client)
                if self._username:
                    await client.login(self._username, self._password)
                return await about(client)
        except TimeoutError:
            raise NotSent(f"{self._where} took longer than {seconds:g} s") from None
        finally:
            await _say_goodbye(client, end)

    async def _connect(self, client: "_Client") -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                await client.connect()
                await client.ehlo()
                if self._security == "starttls":
                    await client.starttls()
                    await client.ehlo()
        except TimeoutError:
            raise NotSent(f"no connection to {self._where} within {self._connect_seconds:g} s") from None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return context

    def _explained(self, error: Exception) -> Exception:
        """What the outbox makes of it, in words that may be kept."""
        if isinstance(error, aiosmtplib.SMTPConnectError) and error.__cause__:
            return NotSent(self._clean(f"no connection to {self._where}: {_reason(error.__cause__)}"))
        if not isinstance(error, aiosmtplib.SMTPResponseException):
            return NotSent(self._clean(str(error)))
        step = _STEPS.get(type(error), "STARTTLS")
        text = self._clean(f"{step} was answered with {error.code} {error.message}")
        for_good = 500 <= error.code <= 599 and error.code != _NOT_LOGGED_IN
        if for_good and isinstance(error, aiosmtplib.SMTPAuthenticationError):
            self._login_refused = (time.monotonic() + self._login_pause_seconds, text)
            return LoginRefused(text)
        if for_good and isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError):
            return MailRefused(text)
        return NotSent(text)

    def _require_no_fresh_refusal(self) -> None:
        if self._login_refused and time.monotonic() < self._login_refused[0]:
            raise LoginRefused(self._login_refused[1])

    def _clean(self, text: str) -> str:
        """One bounded line without secrets: some servers repeat what they did not understand."""
        if self._password:
            plain = f"\0{self._username}\0{self._password}"
            for secret in (_base64(plain), _base64(self._password), self._password):
                text = text.replace(secret, logs.MASK)
        return logs.mask_text(logs.printable(text))[:_MOST_OF_A_REPLY]


def smtp_from(settings: Settings) -> SmtpTransport:
    mail = settings.mail
    return SmtpTransport(
        mail.smtp_host,
        settings.smtp_port,
        security=mail.smtp_security,
        sender=parseaddr(mail.from_address)[1],
        greeting=_greeting(urlsplit(settings.public_url).hostname or "localhost"),
        username=mail.smtp_username,
        password=mail.smtp_password.get_secret_value(),
        ca_file=settings.smtp_ca_file,
    )


def _greeting(host: str) -> str:
    """A name, or an address literal of RFC 5321; never asked of the DNS, which can be slow."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _reason(error: BaseException) -> str:
    """Why there is no connection, each reason once: a name can have several addresses."""
    if numbers := re.findall(r"\[Errno (\d+)\]", str(error)):
        return ", ".join(dict.fromkeys(os.strerror(int(number)) for number in numbers))
    return getattr(error, "strerror", None) or str(error)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _certificate_end(client: "_Client") -> datetime | None:
    tls = client.transport.get_extra_info("ssl_object") if client.transport else None
    if tls is None:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]), UTC)


async def _say_goodbye(client: "_Client", end: float) -> None:
    """Part politely, but briefly: whether the mail was taken is settled by now."""
    soon = asyncio.get_running_loop().time() + _GOODBYE_SECONDS
    try:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            async with asyncio.timeout_at(min(soon, end)):
                await client.quit()
    finally:
        client.close()


class _Client(aiosmtplib.SMTP):
    AUTH_METHODS = ("plain", "login", "cram-md5")

    @property
    def supported_auth_methods(self) -> list[str]:
        """The best alone: the library would try a wrong password once a method."""
        return super().supported_auth_methods[:1]

    def close(self) -> None:
        """At once: the end of TLS would wait for the server after the event loop has gone."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        super().close()


class _Loop(asyncio.SelectorEventLoop):
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: waiting here for a name server that does not answer would outlast every bound."""
