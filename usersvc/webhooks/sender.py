"""One POST to a receiver: a name is resolved once, and what is connected to is an address that was judged.

No redirect is followed and no proxy of the environment asked: either would lead where nobody has looked.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

import h11

from usersvc.settings import Settings
from usersvc.webhooks.endpoints import Allowed, Endpoint, InvalidUrl, parse
from usersvc.webhooks.outcome import Outcome

_CONNECT_SECONDS = 5
_MOST_ADDRESSES = 3
_MOST_OF_A_BODY = 4096
_BODY_SECONDS = 2
# Answers like 100 and 103, before the one that counts: else they are read as fast as they come.
_MOST_INTERIM = 8
_MOST_SECONDS_LATER = 6 * 3600

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NotAllowed(OSError):
    """Nothing that the name leads to may be sent to."""


# The first that fits.
_WORDS: dict[type[Exception], str] = {
    NotAllowed: "address not allowed",
    InvalidUrl: "invalid url",
    TimeoutError: "timed out",
    socket.gaierror: "no such host",
    ssl.SSLCertVerificationError: "certificate not trusted",
    ssl.SSLError: "no tls",
    h11.RemoteProtocolError: "no http answer",
}


class Resolver(Protocol):
    async def addresses(self, host: str, port: int) -> list[str]: ...


class SystemResolver:
    """As every program of the machine does it; also for the odd forms of IPv4, which are judged after it."""

    async def addresses(self, host: str, port: int) -> list[str]:
        """Raises socket.gaierror."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """`seconds` bound all of it: the name, connecting, TLS, and an answer that comes a byte now and then."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        seconds: float = 15,
        ca_file: Path | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._ca_file = ca_file
        self._resolver = resolver or SystemResolver()

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Raises nothing that the other side can cause."""
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                return runner.run(self._post(parse(url), headers, body))
        except (OSError, InvalidUrl, h11.RemoteProtocolError) as error:
            return Outcome(_word(error))

    async def _post(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> Outcome:
        async with asyncio.timeout(self._seconds):
            reader, writer = await self._connect(endpoint)
            try:
                return await _converse(reader, writer, endpoint, headers, body)
            except ConnectionError:
                raise h11.RemoteProtocolError("it hung up") from None
            finally:
                # At once: the end of TLS would wait for the other side.
                writer.transport.abort()

    async def _connect(self, endpoint: Endpoint) -> Streams:
        """To the first of the addresses that may be reached and that answers."""
        found = await self._resolver.addresses(endpoint.host, endpoint.port)
        allowed = [one for one in found if self._allowed.reaches(one, over_tls=endpoint.over_tls)]
        failure: OSError = NotAllowed()
        for address in allowed[:_MOST_ADDRESSES]:
            try:
                return await self._open(address, endpoint)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
        raise failure

    async def _open(self, address: str, endpoint: Endpoint) -> Streams:
        """The address decides where it goes, the name whose certificate it has to be."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            if endpoint.over_tls:
                return await asyncio.open_connection(
                    address, endpoint.port, ssl=self._tls, server_hostname=endpoint.host
                )
            return await asyncio.open_connection(address, endpoint.port)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return context


def sender_from(settings: Settings) -> Sender:
    return Sender(
        Allowed(settings.webhooks.allowed_networks),
        seconds=settings.webhooks.timeout_seconds,
        ca_file=settings.webhooks_ca_file,
    )


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    endpoint: Endpoint,
    headers: Mapping[str, str],
    body: bytes,
) -> Outcome:
    connection = h11.Connection(h11.CLIENT)
    given = {
        "host": endpoint.authority,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": "usersvc",
        "connection": "close",
        **headers,
    }
    for event in (
        h11.Request(method="POST", target=endpoint.target, headers=list(given.items())),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    response = await _next(connection, reader)
    for _ in range(_MOST_INTERIM):
        if not isinstance(response, h11.InformationalResponse):
            break
        response = await _next(connection, reader)
    if not isinstance(response, h11.Response):
        raise h11.RemoteProtocolError("no response")
    await _hear_out(connection, reader)
    return Outcome(str(response.status_code), response.status_code, _retry_after(response))


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Event | None:
    """The next part of the answer; None where there is no more. Headers over 16 KiB are a broken answer."""
    while True:
        event = connection.next_event()
        if event is h11.PAUSED:
            return None
        if event is not h11.NEED_DATA:
            return event  # type: ignore[return-value]
        connection.receive_data(await reader.read(_MOST_OF_A_BODY))


async def _hear_out(connection: h11.Connection, reader: asyncio.StreamReader) -> None:
    """A little of the body, for receivers who take a closed connection for a caller who gave up."""
    heard = 0
    with contextlib.suppress(OSError, h11.RemoteProtocolError):
        async with asyncio.timeout(_BODY_SECONDS):
            while heard < _MOST_OF_A_BODY and isinstance(part := await _next(connection, reader), h11.Data):
                heard += len(part.data)


def _retry_after(response: h11.Response) -> int:
    """In seconds; dates are not understood. Asked for too long, it is cut."""
    if response.status_code not in (429, 503):
        return 0
    return min(next(_numbers_of(response, b"retry-after"), 0), _MOST_SECONDS_LATER)


def _numbers_of(response: h11.Response, name: bytes) -> Iterator[int]:
    for header, value in response.headers:
        if header == name and value.isdigit() and len(value) < 10:
            yield int(value)


def _word(error: Exception) -> str:
    """Why there is no status. Nothing of what the other side said."""
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), "not connected")


class _Loop(asyncio.SelectorEventLoop):
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: waiting here for a name server that does not answer would outlast every bound."""
