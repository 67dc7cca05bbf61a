"""`GET /users/me` while ten times as many log in as the cores can hash for."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.arrivals import Arrivals, Ask, arrive
from bench.ceilings import hammer
from bench.contender import EMAIL, PASSWORD, Contender
from bench.finding import Finding, Run
from bench.hashes import bare_hashes
from bench.load import Connection
from bench.peers.fastapi_users import FastapiUsers
from bench.service import API, Usersvc, log_in
from bench.serving import Served
from bench.spread import alternating

TIMES = 10
_RATE = 100.0
"""Of those who ask for themselves in the open loop."""
Result = TypeVar("Result")


async def _log_in_at_fastapi_users(connection: Connection) -> tuple[int, Any]:
    return await connection.ask("POST", "/auth/jwt/login", form={"username": EMAIL, "password": PASSWORD})


@dataclass
class _Hit:
    """Who stands in the storm: rates and 99th percentiles (seconds) of each round."""

    contender: Contender
    log_in: Ask
    prefix: str
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    p99_alone: list[float] = field(default_factory=list)
    p99_beside: list[float] = field(default_factory=list)


def ask(run: Run) -> Finding:
    logins = TIMES * bare_hashes(run.seconds)
    finding = Finding(f"`GET /users/me` beside {TIMES} times the logins that fit", "requests/s")
    ours = _Hit(Usersvc(run.folder), log_in, API)
    theirs = _Hit(FastapiUsers(run.folder), _log_in_at_fastapi_users, "")
    hit = {each.contender.name: each for each in (ours, theirs)}
    for name, each in hit.items():
        each.contender.prepare()
        finding.versions[name] = each.contender.shown_versions()
    for name in alternating(list(hit), run.rounds):
        _round(hit[name], logins, run.seconds)
    for name, each in hit.items():
        finding.measured(f"{name}, alone", each.alone)
        finding.measured(f"{name}, in the storm", each.beside)
        finding.notes.append(
            f"{name}, p99 in ms: {_shown(each.p99_alone)} alone, {_shown(each.p99_beside)} beside"
        )
    finding.notes.append(
        f"{logins:.0f} logins a second; p99 of {_RATE:g} requests a second, whatever comes back"
    )
    finding.compares("storm-rate", ours.beside, ours.alone)
    finding.compares("storm-p99", ours.p99_beside, ours.p99_alone)
    return finding


def _shown(waits: list[float]) -> str:
    return " ".join(f"{wait * 1000:.0f}" for wait in sorted(waits))


def _round(hit: _Hit, logins: float, seconds: float) -> None:
    contender = hit.contender
    with contender.serving() as served:
        headers = contender.headers(served.port)

        def rate() -> float:
            return hammer(served.port, contender.me, headers=headers, seconds=seconds, may_fail=True).rate

        def p99() -> Coroutine[Any, Any, Arrivals]:
            return _come(contender, served, headers, seconds)

        def stormy(other: Coroutine[Any, Any, Result]) -> Result:
            storm = arrive(hit.log_in, port=served.port, rate=logins, seconds=10 * seconds, prefix=hit.prefix)
            return asyncio.run(_beside(storm, other))

        rate()  # until it is warm
        hit.alone.append(rate())
        hit.p99_alone.append(asyncio.run(p99()).percentile(0.99))
        hit.beside.append(stormy(asyncio.to_thread(rate)))
        hit.p99_beside.append(stormy(p99()).percentile(0.99))


async def _beside(storm: Coroutine[Any, Any, Arrivals], other: Coroutine[Any, Any, Result]) -> Result:
    """What `other` finds a second after the storm began; ends the storm."""
    storming = asyncio.create_task(storm)
    await asyncio.sleep(1)
    try:
        return await other
    finally:
        storming.cancel()
        await asyncio.gather(storming, return_exceptions=True)


async def _come(contender: Contender, served: Served, headers: dict[str, str], seconds: float) -> Arrivals:
    token = headers["Authorization"].removeprefix("Bearer ")

    async def show_me(connection: Connection) -> tuple[int, Any]:
        return await connection.ask("GET", contender.me, token=token)

    return await arrive(show_me, port=served.port, rate=_RATE, seconds=seconds, prefix="")
