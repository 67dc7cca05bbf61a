"""Refreshes a second on SQLite: each ends one refresh token and gives another, durably."""

from bench.finding import Finding, Run
from bench.load import run as load
from bench.peers.django_simplejwt import REFRESH as REFRESH_OF_DJANGO
from bench.peers.django_simplejwt import DjangoSimplejwt
from bench.service import ACCOUNTS, REFRESH, Usersvc
from bench.spread import alternating


def ask(run: Run) -> Finding:
    finding = Finding(f"Refreshes, SQLite, one process, {ACCOUNTS} clients", "refreshes/s")
    usersvc, django = Usersvc(run.folder), DjangoSimplejwt(run.folder)
    contenders = {usersvc.name: (usersvc, REFRESH), django.name: (django, REFRESH_OF_DJANGO)}
    for contender, _ in contenders.values():
        contender.prepare()
        finding.versions[contender.name] = contender.shown_versions()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for name in alternating(list(contenders), run.rounds):
        contender, question = contenders[name]
        with contender.serving() as served:
            answers = load(question, port=served.port, connections=ACCOUNTS, seconds=run.seconds)
            found[name].append(answers.rate)
    for name, rates in found.items():
        finding.measured(name, rates)
    finding.compares("refresh-django", found[usersvc.name], found[django.name])
    return finding
