"""Kill what serves, mails and stores, again and again, while people register; then count what they were told.

Everything is real: servers, workers, a mail server, and on PostgreSQL the database. Who was told that he
registered must have an account and a mail with a link that works, once; of everybody else all is there, or
nothing.

    python -m tests.torture --seconds 300 --database sqlite

As a soak, people register less often and kills are far apart; what the processes hold must not grow:

    python -m tests.torture --seconds 7200 --every 60 --load 0.3 --database sqlite
"""

import argparse
import random
import secrets
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.findings import Mails, findings
from tests.faults.journal import HoldingServer, Journal
from tests.faults.killer import Killer
from tests.faults.resources import Resources
from tests.faults.site import Site
from tests.processes import eventually
from tests.servers import postgresql
from tests.smtp import mail_server


@dataclass
class Report:
    acknowledged: int
    refused: int
    unanswered: int
    whole: int
    """Of the unanswered: those that had been written all the same."""
    kills: Counter[str]
    dead: int
    taken: int
    twice_excused: int
    twice: int
    held: str
    wrong: list[str]

    def __str__(self) -> str:
        kills = "\n".join(f"    {number:5} {kind}" for kind, number in self.kills.most_common())
        return (
            f"registrations: {self.acknowledged} acknowledged, {self.refused} times refused, "
            f"{self.unanswered} never answered (of them {self.whole} written)\n"
            f"kills: {self.kills.total()}, of {self.dead} processes\n{kills}\n"
            f"mails: {self.taken}; taken twice because their worker was killed before it could settle them: "
            f"{self.twice_excused}, otherwise: {self.twice}\n{self.held}\n"
            + ("\n".join(["WRONG:", *self.wrong]) if self.wrong else "nothing is wrong")
        )


@dataclass(frozen=True)
class Plan:
    """For how long, and how; by default one kill after the other, then a while without any."""

    seconds: float
    calm_seconds: float = 20
    every: float | None = None
    """Seconds between two kills, on the average."""
    load: float = 1
    settled: float = 5
    """Seconds after which a process that is up should hold what it needs."""


SOAK_SETTLED = 60


def torture(database: str, folder: Path, plan: Plan, *, seed: int) -> Report:
    """On `sqlite` or `postgresql`, in an empty folder. The seed repeats the killer's choices, no more."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(durable=True)) if database == "postgresql" else None
        mail = stack.enter_context(mail_server(kind=HoldingServer))
        site = Site(folder, server, smtp_port=mail.port)
        stack.enter_context(site.open())
        journal = Journal(site.urls)
        killer = Killer(site, journal, mail, random.Random(seed))
        killer.break_off_the_first_start()
        for place in site.places:
            place.start()
        site.wait_until_up()
        resources = Resources(site)
        with journal.clients(), resources.watched():
            wrong = _kill(killer, journal, plan)
        killer.end_all()
        _let_leases_end(site)
        for place in (site.servers[0], site.workers[0]):
            place.start()
        eventually(lambda: site.rows("SELECT 1 FROM outbox WHERE status = 'due' LIMIT 1") == [], seconds=300)
        site.usersvc.run("purge-tokens")
        site.servers[0].wait_until_up()
        mails = Mails.of(mail)
        wrong += findings(site, journal, killer, mails)
        wrong += resources.findings(plan.settled)
        return _report(site, journal, killer, mails, held=resources.told(plan.settled), wrong=wrong)


def _kill(killer: Killer, journal: Journal, plan: Plan) -> list[str]:
    if plan.load < 1:
        print(f"{journal.slow_down_to(plan.load):.1f} registrations a second", flush=True)
    if plan.every is not None:
        killer.kill_now_and_then(plan.seconds, every=plan.every)
        return []
    never = killer.kill_for(plan.seconds)
    killer.keep_calm(plan.calm_seconds)
    return [f"nobody was killed {name}" for name in never]


def _let_leases_end(site: Site) -> None:
    past = "2020-01-01 00:00:00.000000"
    site.change(f"UPDATE outbox SET lease_until = '{past}' WHERE lease_until IS NOT NULL")


def _report(
    site: Site, journal: Journal, killer: Killer, mails: Mails, *, held: str, wrong: list[str]
) -> Report:
    people = {address for (address,) in site.rows("SELECT email FROM users")}
    unanswered = journal.unanswered - journal.acknowledged
    excused, twice = mails.twice(killer.held)
    return Report(
        acknowledged=len(journal.acknowledged),
        refused=len(journal.refused),
        unanswered=len(unanswered),
        whole=len(unanswered & people),
        kills=killer.kills,
        dead=killer.dead,
        taken=len(mails.taken),
        twice_excused=excused,
        twice=twice,
        held=held,
        wrong=wrong,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--every", type=float, help="seconds between two kills; as a soak")
    parser.add_argument("--load", type=float, default=1, help="a share of what can be done")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = parser.parse_args()
    print(f"{asked.database}, {asked.seconds:g} s, --seed {asked.seed}", flush=True)
    plan = Plan(asked.seconds, every=asked.every, load=asked.load)
    if asked.every is not None:
        plan = replace(plan, settled=SOAK_SETTLED)
    with tempfile.TemporaryDirectory(prefix="usersvc-torture-") as folder:
        report = torture(asked.database, Path(folder), plan, seed=asked.seed)
    print(report)
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
