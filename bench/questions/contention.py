"""`GET /users/me` while others make the database work: slow lists, and a write lock in another process."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from bench.ceilings import hammer
from bench.filling import fill
from bench.finding import Finding, Run
from bench.load import Connection
from bench.service import Usersvc

LISTS = 8
# Nobody has this role: the list looks at every user to find none.
_SLOW = "/admin/users?role=moderator&sort=email&limit=100"


def ask(run: Run) -> Finding:
    number = sorted(run.sizes)[len(run.sizes) // 2]
    finding = Finding(f"`GET /users/me` of {number:,} users, SQLite, one process", "requests/s")
    usersvc = Usersvc(run.folder)
    with usersvc.opened():
        fill(usersvc.database, number)
    found: dict[str, list[float]] = {"alone": [], f"beside {LISTS} slow lists": [], "under a write lock": []}
    alone, listed, locked = found.values()
    lists: list[float] = []
    for _ in range(run.rounds):
        with usersvc.serving() as served:
            headers = usersvc.headers(served.port)
            rate = partial(_rate, served.port, headers, run.seconds)

            rate()  # until it is warm
            alone.append(rate())
            with _slow_lists(served.port, headers["Authorization"]) as made:
                listed.append(rate())
            lists.append(len(made) / run.seconds)
            with closing(sqlite3.connect(usersvc.database, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                locked.append(rate())
    for name, rates in found.items():
        finding.measured(name, rates)
    finding.compares("lists-rate", listed, alone)
    finding.compares("locked-rate", locked, alone)
    finding.versions[usersvc.name] = usersvc.shown_versions()
    finding.notes.append("lists a second meanwhile: " + " ".join(f"{each:.1f}" for each in lists))
    return finding


def _rate(port: int, headers: dict[str, str], seconds: float) -> float:
    return hammer(port, Usersvc.me, headers=headers, seconds=seconds).rate


@contextmanager
def _slow_lists(port: int, authorization: str) -> Iterator[list[int]]:
    """The statuses of those that were answered."""
    made: list[int] = []
    over = threading.Event()
    token = authorization.removeprefix("Bearer ")

    async def go_on(number: int) -> None:
        connection = Connection(port, number)
        await connection.open()
        while not over.is_set():
            status, _ = await connection.ask("GET", _SLOW, token=token)
            if status != 200:
                raise RuntimeError(f"a list was answered with {status}")
            made.append(status)
        connection.close()

    async def all_of_them() -> None:
        await asyncio.gather(*map(go_on, range(LISTS)))

    asking = threading.Thread(target=asyncio.run, args=(all_of_them(),))
    asking.start()
    try:
        yield made
    finally:
        over.set()
        asking.join()
