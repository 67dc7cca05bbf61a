"""What becomes slower as the users become more: `/users/me`, logins, refreshes, pages, searches."""

import asyncio
import secrets
import statistics
import time
from typing import Any

from bench.ceilings import hammer
from bench.contender import PASSWORD
from bench.filling import fill
from bench.finding import Finding, Run
from bench.load import Connection, Question
from bench.load import run as load
from bench.service import ACCOUNTS, REFRESH, Usersvc
from bench.serving import Served
from bench.spread import alternating
from usersvc.core import Core
from usersvc.services import _pages, directory
from usersvc.services.actor import Actor

_TIMES = 30
"""That a page is asked for in a round."""
_PAGE = "/admin/users?sort=created_at&limit=50"


def ask(run: Run) -> Finding:
    finding = Finding("As the users and their ended sessions become more", "a second; pages: ms")
    instances = {f"{size:,}": _Instance(run, size) for size in sorted(run.sizes)}
    for name in alternating(list(instances), run.rounds):
        instances[name].measure(run.seconds)
    for name, instance in instances.items():
        for what, values in instance.found.items():
            finding.measured(f"{what}, {name} users", values)
        finding.versions["usersvc"] = instance.usersvc.shown_versions()
        finding.notes.append(f"{name} users and ended sessions made in {instance.filled_in:.0f} s")
    found = [instance.found for instance in instances.values()]
    fewest, most = found[0], found[-1]
    finding.panels = [f"{what}," for what in most]
    for key, what in (("growth-me", "me"), ("growth-login", "login"), ("growth-refresh", "refresh")):
        finding.compares(key, most[what], fewest[what])
    finding.compares("growth-last-page", most["last page"], most["first page"])
    return finding


class _Instance:
    """A database of so many users."""

    def __init__(self, run: Run, size: int) -> None:
        self.size = size
        self.usersvc = Usersvc(run.folder / str(size))
        self.found: dict[str, list[float]] = {}
        began = time.monotonic()
        with self.usersvc.opened() as core:
            fill(self.usersvc.database, size)
            self.filled_in = time.monotonic() - began
            self._last_page = f"{_PAGE}&cursor={before_the_last_page(core)}"

    def measure(self, seconds: float) -> None:
        """All of it, once, from a server that has just started."""
        with self.usersvc.serving() as served:
            headers = self.usersvc.headers(served.port)
            hammer(served.port, self.usersvc.me, headers=headers, seconds=1)
            me = hammer(served.port, self.usersvc.me, headers=headers, seconds=seconds)
            self._note("me", me.rate)
            refreshes = load(REFRESH, port=served.port, connections=ACCOUNTS, seconds=seconds)
            self._note("refresh", refreshes.rate)
            # A hash takes a quarter of a second: it needs many of them to tell a tenth.
            logins = Question("login of anybody", _nothing, self._log_in_anybody)
            found = load(logins, port=served.port, connections=ACCOUNTS, seconds=3 * seconds)
            self._note("login", found.rate)
            token = headers["Authorization"].removeprefix("Bearer ")
            asyncio.run(self._pages(served, token))

    async def _log_in_anybody(self, connection: Connection, _: object) -> tuple[int, Any]:
        body = {"email": self._somebody(), "password": PASSWORD}
        return await connection.ask("POST", "/auth/login", body=body)

    async def _pages(self, served: Served, token: str) -> None:
        connection = Connection(served.port, 0)
        await connection.open()
        times: dict[str, list[float]] = {"first page": [], "last page": [], "search": []}
        for _ in range(_TIMES):
            search = f"{_PAGE}&q={self._somebody()}"
            for what, path in zip(times, (_PAGE, self._last_page, search), strict=True):
                began = time.perf_counter()
                status, shown = await connection.ask("GET", path, token=token)
                times[what].append((time.perf_counter() - began) * 1000)
                if status != 200 or not shown:
                    raise RuntimeError(f"{what}: {status}, {shown}")
        connection.close()
        for what, taken in times.items():
            self._note(what, statistics.median(taken))

    def _somebody(self) -> str:
        return f"b{secrets.randbelow(self.size)}@example.org"

    def _note(self, what: str, value: float) -> None:
        self.found.setdefault(what, []).append(value)


async def _nothing(_connection: Connection) -> None: ...


def before_the_last_page(core: Core) -> str:
    """The cursor after which a page of fifty is left: to go there page by page would take an hour."""
    backwards = directory.list_users(core, actor=Actor.operator("bench"), sort="-created_at", limit=51)
    before = backwards.accounts[-1]
    place = {"value": before.created_at.isoformat(), "id": before.id.hex}
    return _pages.cursor_after(core, "users", place, query=["created_at", None, None, None])
