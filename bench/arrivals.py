"""An open loop: requests arrive at a fixed rate, whether or not those before were answered.

A closed loop asks less often of a server that is slow, and so never sees how long those would wait who come
meanwhile (coordinated omission). Here a wait counts from when the request was due.
"""

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bench.load import Connection

Ask = Callable[[Connection], Awaitable[tuple[int, Any]]]
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Arrivals:
    """What became of those that came."""

    answered: tuple[tuple[int, float], ...]
    """Status, and seconds since it was due."""
    unanswered: int

    @property
    def good(self) -> int:
        return sum(status < HTTPStatus.BAD_REQUEST for status, _ in self.answered)

    def percentile(self, share: float) -> float:
        """Seconds; endless where so many were not answered at all."""
        waits = [wait for _, wait in self.answered] + [math.inf] * self.unanswered
        return percentile(waits, share)


def percentile(waits: Sequence[float], share: float) -> float:
    """The wait that this share of all does not exceed."""
    ranked = sorted(waits)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


async def arrive(ask: Ask, *, port: int, rate: float, seconds: float, prefix: str = "/api/v1") -> Arrivals:
    """Each on a connection that is free, or on a new one."""
    free: list[Connection] = []
    answered: list[tuple[int, float]] = []
    made = 0
    began = time.monotonic()

    async def one(due: float) -> None:
        nonlocal made
        if free:
            connection = free.pop()
        else:
            connection = Connection(port, made, prefix=prefix)
            made += 1
            await connection.open()
        try:
            status, _ = await ask(connection)
        except BaseException:
            connection.close()
            raise
        answered.append((status, time.monotonic() - due))
        free.append(connection)

    expected = round(rate * seconds)
    async with asyncio.TaskGroup() as coming:
        for number in range(expected):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            coming.create_task(_within(one(due)))
    for connection in free:
        connection.close()
    return Arrivals(tuple(answered), expected - len(answered))


async def _within(asked: Awaitable[None]) -> None:
    """A server that is not there, hangs up or does not answer: the request counts as not answered."""
    with contextlib.suppress(OSError, EOFError, TimeoutError, json.JSONDecodeError):
        await asyncio.wait_for(asked, _PATIENCE_SECONDS)
