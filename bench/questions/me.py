"""`GET /users/me` on SQLite, one process: as many as each answers, asked without a pause."""

import statistics
from collections.abc import Sequence

from bench.contender import Contender, rates_of_me
from bench.finding import Finding, Run
from bench.peers.async_session import OverAsyncSession
from bench.peers.bare import Bare
from bench.peers.better_auth import BetterAuth
from bench.peers.django_simplejwt import DjangoSimplejwt
from bench.peers.fastapi_users import FastapiUsers
from bench.service import Usersvc

_AGAINST = {
    "me-fastapi-users": FastapiUsers.name,
    "me-bare": Bare.name,
    "me-aiosqlite": OverAsyncSession.name,
}


def ask(run: Run) -> Finding:
    usersvc = Usersvc(run.folder)
    contenders: list[Contender] = [
        usersvc,
        FastapiUsers(run.folder),
        OverAsyncSession(run.folder, usersvc),
        DjangoSimplejwt(run.folder),
        Bare(run.folder),
    ]
    finding = Finding("`GET /users/me`, SQLite, one process", "requests/s")
    if BetterAuth.can_run():
        contenders.insert(-1, BetterAuth(run.folder))
    else:
        finding.notes.append("better-auth is left out: this machine has no Node")
    return compare(finding, contenders, _AGAINST, run)


def compare(finding: Finding, contenders: Sequence[Contender], against: dict[str, str], run: Run) -> Finding:
    """The first of them with each that `against` names for a target."""
    for contender in contenders:
        contender.prepare()
        finding.versions[contender.name] = contender.shown_versions()
    found = rates_of_me(contenders, rounds=run.rounds, seconds=run.seconds)
    for name, of in found.items():
        finding.measured(name, of.rates)
        finding.notes.append(f"{name}: {statistics.median(of.costs):.2f} ms of a core for each")
    for key, peer in against.items():
        finding.compares(key, found[contenders[0].name].rates, found[peer].rates)
    return finding
