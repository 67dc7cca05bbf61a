"""Receivers of webhooks for tests: real servers on this machine, and sockets that say what a test wants."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

HERE = "127.0.0.0/8"


@dataclass(frozen=True)
class Received:
    target: str
    headers: dict[str, str]
    """With names in small letters."""
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return str(json.loads(self.body)["type"])

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found

    def verified_by(self, secret: str) -> Any:
        """What the library of Standard Webhooks makes of it; it raises where the signature is wrong."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """What a server was sent, and its answers: one after the other, then always 204."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hidden"

    def answer(self, *statuses: int, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers += [(status, named) for status in statuses]


@contextmanager
def receiver(*, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    met = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more = met.answers.pop(0) if met.answers else (204, {})
            met.received.append(Received(self.path, headers, body))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    met.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield met
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def speaking(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """The port of a server that does this with its one connection, until the event tells that all is over."""
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                talk(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join(30)


class ScriptedResolver:
    """Answers each question with the next of these lists of addresses, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
