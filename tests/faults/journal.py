"""Both ends of the kill loop: people who write down every answer, and a mail server that keeps every mail."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.factories import PASSWORD
from tests.smtp import MailServer

CLIENTS = 6
_FULL_SECONDS = 10
_STEP_SECONDS = 20


@dataclass
class Trap:
    """Springs at the next registration that is acknowledged."""

    sprung: threading.Event = field(default_factory=threading.Event)
    url: str = ""


class Journal:
    """What people were told who registered, one address after the other; over a new connection each time."""

    def __init__(self, urls: list[str]) -> None:
        self.acknowledged: set[str] = set()
        self.unanswered: set[str] = set()
        """Asked, and not known what came of it; some were acknowledged at a later try."""
        self.refused: list[str] = []
        self.wrong: list[str] = []
        self._urls = urls
        self._over = threading.Event()
        self._seconds_each = 0.0
        self._trap: Trap | None = None

    @contextmanager
    def clients(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._go_on, client) for client in range(CLIENTS)]
            try:
                yield
            finally:
                self._over.set()
            for client in clients:
                client.result()

    def slow_down_to(self, share: float) -> float:
        """Of what is done in the next seconds without a pause. Returns the registrations in a second."""
        before = len(self.acknowledged)
        time.sleep(_FULL_SECONDS)
        rate = share * (len(self.acknowledged) - before) / _FULL_SECONDS
        assert rate, "nobody can register"
        self._seconds_each = CLIENTS / rate
        return rate

    @contextmanager
    def trap(self) -> Iterator[Trap]:
        self._trap = trap = Trap()
        try:
            yield trap
        finally:
            self._trap = None

    def _go_on(self, client: int) -> None:
        limits = httpx2.Limits(max_keepalive_connections=0)
        with httpx2.Client(limits=limits, timeout=30, trust_env=False) as http:
            number = 0
            while not self._over.is_set():
                number += 1
                began = time.monotonic()
                address = f"c{client}n{number}@example.org"
                while not self._is_done_with(http, address, network=client * 7919 + number):
                    time.sleep(0.1)
                self._over.wait(max(0.0, began + self._seconds_each - time.monotonic()))

    def _is_done_with(self, http: httpx2.Client, address: str, *, network: int) -> bool:
        """Of those who hear nothing, or are refused, every second one tries again."""
        url = random.choice(self._urls)
        headers = {"X-Forwarded-For": f"10.{network >> 16 & 255}.{network >> 8 & 255}.{network & 255}"}
        body = {"email": address, "password": PASSWORD}
        try:
            answer = http.post(f"{url}/api/v1/users", json=body, headers=headers)
        except httpx2.ConnectError:
            # Nobody was asked.
            return self._over.is_set()
        except httpx2.TransportError:
            self.unanswered.add(address)
        else:
            if answer.status_code == 202:
                self._acknowledge(address, url)
                return True
            self.refused.append(address)
            if answer.status_code != 503:
                self.wrong.append(f"a registration was answered with {answer.status_code}: {answer.text}")
        return self._over.is_set() or random.random() < 0.5

    def _acknowledge(self, address: str, url: str) -> None:
        trap, self._trap = self._trap, None
        if trap:
            trap.url = url
            trap.sprung.set()
        self.acknowledged.add(address)


@dataclass
class Hold:
    """A conversation that stands still, once it has come to a step, until whoever asked for that is done."""

    step: str
    address: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


@dataclass
class HoldingServer(MailServer):
    """Takes every mail. Held are RCPT, CONTENT (the mail was taken, the 250 not sent yet) and QUIT."""

    hold: Hold | None = None

    @contextmanager
    def holding(self, step: str) -> Iterator[Hold]:
        self.hold = hold = Hold(step)
        try:
            yield hold
        finally:
            self.hold = None
            hold.over.set()

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        session.address = address
        await self._stand_still("RCPT", session)
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        await self._stand_still("CONTENT", session)
        return answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        await self._stand_still("QUIT", session)
        return await super().handle_QUIT(server, session, envelope)

    async def _stand_still(self, step: str, session: Any) -> None:
        hold = self.hold
        if hold is None or hold.step != step:
            return
        self.hold = None
        hold.address = session.address
        hold.reached.set()
        await asyncio.to_thread(hold.over.wait, _STEP_SECONDS)
