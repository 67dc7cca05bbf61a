"""uvicorn's HTTP protocol with bounds on what comes before a request is whole, and our own refusals.

Without them a stranger fills the memory with headers that never end, and the table of open files with
connections that never say anything.
"""

import asyncio
import uuid
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from usersvc.api.envelope import MOST_HEADER_BYTES, SECURITY_HEADERS
from usersvc.api.errors import transport_failure

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Protocol(HttpToolsProtocol):
    """Refuses with 431, 408 and 400 in the envelope, where no application has seen the request yet."""

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._set_deadline(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._set_deadline(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._set_deadline(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._set_deadline(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to what is no HTTP."""
        self._refuse(400)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._too_slow) if seconds is not None else None

    def _too_slow(self) -> None:
        if self._in_headers:
            self._refuse(408)
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer and close; only close where an earlier answer on this connection is not complete yet."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_raw_refusal(status))
        self.transport.close()


def _raw_refusal(status: int) -> bytes:
    response = transport_failure(status)
    headers = {
        **SECURITY_HEADERS,
        "X-Request-ID": uuid.uuid4().hex,
        "Content-Type": "application/json",
        "Content-Length": str(len(response.body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}\r\n".encode("ascii") + bytes(response.body)
