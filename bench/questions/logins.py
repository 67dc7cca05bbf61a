"""Logins a second, against what bcrypt alone leaves of the same cores."""

from bench.finding import Finding, Run
from bench.hashes import bare_hashes
from bench.load import run as load
from bench.service import ACCOUNTS, LOG_IN, Usersvc
from bench.spread import alternating

_BARE = "bare bcrypt.checkpw"


def ask(run: Run) -> Finding:
    finding = Finding("Logins and bare hashes, bcrypt of cost 12, all cores", "a second")
    usersvc = Usersvc(run.folder)
    usersvc.prepare()
    # A hash takes a quarter of a second: it needs many of them to tell a twentieth.
    seconds = 3 * run.seconds
    found: dict[str, list[float]] = {usersvc.name: [], _BARE: []}
    for name in alternating(list(found), run.rounds):
        if name == _BARE:
            found[name].append(bare_hashes(seconds))
            continue
        with usersvc.serving() as served:
            load(LOG_IN, port=served.port, connections=ACCOUNTS, seconds=1)
            answers = load(LOG_IN, port=served.port, connections=ACCOUNTS, seconds=seconds)
            found[name].append(answers.rate)
    for name, rates in found.items():
        finding.measured(name, rates)
    finding.compares("logins-bcrypt", found[usersvc.name], found[_BARE])
    finding.versions[usersvc.name] = usersvc.shown_versions()
    return finding
