"""uvicorn's HTTP protocol with bounds on what comes before a request is whole, and our own refusals.

Without them a stranger fills the memory with headers that never end, and the table of open files with
connections that never say anything. And a server that stops closes no connection with a request in it.
"""

import asyncio
import logging
import uuid
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from usersvc import logs
from usersvc.api.envelope import MOST_HEADER_BYTES, SECURITY_HEADERS
from usersvc.api.errors import transport_failure
from usersvc.stopping import Stop

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
# Once nobody listens any more, a connection without a request is kept for so long.
IDLE_SECONDS = 1.0
_LAST_LOOK_SECONDS = 0.05

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class State(ServerState):
    """What the connections of one server share."""

    connections: set[Any]

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.stop = stop
        self.listening = True


class Protocol(HttpToolsProtocol):
    """Refuses with 431, 408 and 400 in the envelope what is no whole request, unless its answer has begun.

    When the server stops, uvicorn's own closes a connection from which it has read nothing or half the
    headers, and the kernel resets what lies there unread; this one waits for the request.
    """

    server_state: State
    _deadline: asyncio.TimerHandle | None = None
    # A deadline is set once all that has come is read: most requests come whole, and need none.
    _reading = False
    _changed = False
    _seconds: float | None = None
    _in_headers = False
    _in_body = False
    _header_bytes = 0
    _stays_open = True
    _looked_again = False

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        # Its own, so that what strangers cause can be silent where errors of the server are not.
        self.logger = logging.getLogger(logs.OF_CONNECTIONS)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._set_deadline(HEADER_SECONDS if self.server_state.listening else IDLE_SECONDS)

    def shutdown(self) -> None:
        """Nobody listens any more: the request that is here, or comes in a moment, is the last one."""
        if self._is_idle():
            self._set_deadline(IDLE_SECONDS)
        self.make_last()

    def make_last(self) -> None:
        """Answer with `Connection: close`, unless the client was told already that it stays open."""
        if self.cycle and not self.cycle.response_started and not self._in_headers:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._reading, self._changed = True, False
        super().data_received(data)
        self._reading = False
        if self._changed:
            self._set_deadline(self._seconds)
        if self._in_headers and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes, self._looked_again = True, 0, False
        self._set_deadline(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._in_headers, self._in_body = False, True
        self._set_deadline(BODY_SECONDS)
        self._name_host_of_target()
        earlier, earlier_stays_open = self.cycle, self._stays_open
        super().on_headers_complete()
        self._stays_open = self.cycle.keep_alive
        if self.server_state.stop.asked:
            if earlier and not earlier.response_started:
                # Pipelined: only the last one may close, or those behind it are lost.
                earlier.keep_alive = earlier_stays_open
            self.make_last()

    def _name_host_of_target(self) -> None:
        """RFC 9112: where the target is a whole URL its host counts, not that of the Host header."""
        if self.url.startswith(b"/"):
            return
        if host := httptools.parse_url(self.url).host:
            host = b"[%b]" % host if b":" in host else host
            self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]

    def on_message_complete(self) -> None:
        self._in_body = False
        self._set_deadline(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_idle() and not self.server_state.listening:
            self._set_deadline(IDLE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to what is no HTTP."""
        self._refuse(400)

    def _is_idle(self) -> bool:
        """Nothing of a request has been read that is not answered."""
        return not self._in_headers and (self.cycle is None or self.cycle.response_complete)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._reading:
            self._seconds, self._changed = seconds, True
            return
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._too_slow) if seconds is not None else None

    def _too_slow(self) -> None:
        if self._in_headers or self._in_body:
            self._refuse(408)
        elif self._is_idle() and not self._looked_again:
            # A request may lie there that the event loop has not come to yet.
            self._looked_again = True
            self._set_deadline(_LAST_LOOK_SECONDS)
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer and close; only close where that would stand before or in another answer."""
        if self.transport.is_closing():
            return
        if self._in_body:
            self._refuse_rest(status)
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.write(_raw_refusal(status, uuid.uuid4().hex))
        self.transport.close()

    def _refuse_rest(self, status: int) -> None:
        """The application has the request already, and waits for a body that does not come."""
        if self.pipeline or self.cycle.response_started:
            return
        # From here on it reads that the client left, and what it says goes nowhere.
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        state = self.cycle.scope["state"]
        state["refused"] = status
        self.transport.write(_raw_refusal(status, state.setdefault("request_id", uuid.uuid4().hex)))


def _raw_refusal(status: int, request_id: str) -> bytes:
    response = transport_failure(status)
    headers = {
        **SECURITY_HEADERS,
        "X-Request-ID": request_id,
        "Content-Type": "application/json",
        "Content-Length": str(len(response.body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}\r\n".encode("ascii") + bytes(response.body)
