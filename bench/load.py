"""A client that asks as fast as it is answered, over connections that stay open."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode


class Connection:
    """One keep-alive connection, of a client that asks from another network each time."""

    def __init__(self, port: int, number: int, *, prefix: str = "/api/v1") -> None:
        self.number = number
        self._prefix = prefix
        self._port = port
        self._sent = 0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(
        self, method: str, path: str, *, token: str = "", body: Any = None, form: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status, and the answer: its data, where it comes in an envelope."""
        self._sent += 1
        # As long as any: what a request weighs is a part of what it costs.
        network = f"2001:{self.number:x}:{self._sent >> 16:x}:{self._sent & 0xFFFF:x}::1"
        head = [f"{method} {self._prefix}{path} HTTP/1.1", "Host: bench", f"X-Forwarded-For: {network}"]
        content = json.dumps(body).encode() if body is not None else urlencode(form or {}).encode()
        if token:
            head.append(f"Authorization: Bearer {token}")
        if content:
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            head += [f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
        self._writer.write("\r\n".join([*head, "", ""]).encode() + content)
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = json.loads(await self._reader.readexactly(length))
        return int(answered.split(b" ", 2)[1]), answer.get("data", answer)

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Question:
    """What a client asks over and over; `prepare` gives it what it needs first."""

    name: str
    prepare: Callable[[Connection], Awaitable[Any]]
    ask: Callable[[Connection, Any], Awaitable[tuple[int, Any]]]
    """Answers the status, and what it needs the next time."""
    prefix: str = "/api/v1"


@dataclass(frozen=True)
class Answers:
    rate: float
    """Good ones a second."""
    p99: float
    """Seconds within which 99 of 100 came, good or not."""


def run(question: Question, *, port: int, connections: int, seconds: float) -> Answers:
    """Ask for so long, and wait for the answers that are still to come."""
    return asyncio.run(_run(question, port, connections, seconds))


async def _run(question: Question, port: int, connections: int, seconds: float) -> Answers:
    found: list[tuple[int, float]] = []
    asking = [Connection(port, number, prefix=question.prefix) for number in range(connections)]
    needed = []
    for connection in asking:
        await connection.open()
        needed.append(await question.prepare(connection))
        connection.close()  # the server would, before the last one is prepared
    began = time.monotonic()
    until = began + seconds

    async def go_on(connection: Connection, need: Any) -> None:
        await connection.open()
        while (sent := time.monotonic()) < until:
            status, need = await question.ask(connection, need)
            found.append((status, time.monotonic() - sent))
        connection.close()

    await asyncio.gather(*map(go_on, asking, needed))
    good = sum(status < HTTPStatus.BAD_REQUEST for status, _ in found)
    waits = [waited for _, waited in found]
    return Answers(good / (time.monotonic() - began), statistics.quantiles(waits, n=100)[98])
