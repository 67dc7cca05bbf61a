"""Who kills: a process at a random moment, or one that is just at a certain step, as seen from outside."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Set
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import create_engine, insert

from tests.faults.journal import HoldingServer, Journal
from tests.faults.site import Place, Site
from usersvc.db.models import outbox, users
from usersvc.security.secrets import new_id

# A step that does not come within so long is tried another time.
_STEP_SECONDS = 10
# For ways that met nobody there is so many times as long as was asked for.
_PATIENCE = 10
# More than two batches of a purge.
_ABANDONED = 500
_FIRST_STARTS = 3
_LOOK_SECONDS = 0.5

STEPS = {
    "while a mail is leased": "RCPT",
    "after the dot, before its 250": "CONTENT",
    "after the 250, before it is settled": "QUIT",
}
AT_RANDOM = {
    "a process of a server",
    "a server",
    "a parent without its processes",
    "a worker",
    "everything at once",
    "the database",
}
# As a registration writes them.
ROWS = ("users", "audit", "link_tokens", "outbox")


class Killer:
    def __init__(self, site: Site, journal: Journal, mail: HoldingServer, dice: random.Random) -> None:
        self.kills: Counter[str] = Counter()
        self.dead = 0
        """Processes; PostgreSQL counts as one."""
        self.held: Counter[str] = Counter()
        """By Message-ID: how many workers died with this mail in hand."""
        self.abandoned: set[UUID] = set()
        self._site = site
        self._journal = journal
        self._mail = mail
        self._dice = dice
        # With the weight of each. Each says whether it got so far as to kill.
        self._ways: dict[str, tuple[int, Callable[[], bool]]] = {
            "a process of a server": (8, self._kill_child),
            "a server": (6, self._kill_server),
            "a parent without its processes": (1, self._kill_parent),
            "a worker": (10, self._kill_worker),
            "everything at once": (1, self._kill_everything),
            "right after a 202": (3, self._kill_after_an_answer),
            "after the commit, before its 202": (3, self._kill_after_a_commit),
            "during a purge": (1, self._kill_purge),
        }
        for name, step in STEPS.items():
            self._ways[name] = (1, partial(self._kill_at_step, step))
        for table in ROWS:
            self._ways[f"before the row in {table}"] = (1, partial(self._kill_before_row, table))
        if site.server:
            self._ways["the database"] = (2, self._kill_database)

    def break_off_the_first_start(self) -> None:
        for _ in range(_FIRST_STARTS):
            with self._site.usersvc.running("migrate") as process:
                time.sleep(self._dice.uniform(0.3, 1.5))
                self.kills["during the first migration"] += process.process.poll() is None
        self.dead = self.kills.total()

    def kill_now_and_then(self, seconds: float, *, every: float) -> None:
        """At random moments, so many seconds apart on the average."""
        end = time.monotonic() + seconds
        while time.monotonic() < (kill_at := time.monotonic() + self._dice.uniform(0.5, 1.5) * every) < end:
            self._wait_until(kill_at)
            name = self._any_way(AT_RANDOM & self._ways.keys())
            self.kills[name] += self._ways[name][1]()
        self._wait_until(end)

    def kill_for(self, seconds: float) -> list[str]:
        """One after the other, in each way at least once; those that never came to it."""
        end = time.monotonic() + seconds
        missing = self._dice.sample(list(self._ways), len(self._ways))
        met_nobody: set[str] = set()
        while time.monotonic() < end or (missing and time.monotonic() < _PATIENCE * seconds + end):
            time.sleep(self._dice.uniform(0, 0.2))
            self._site.revive()
            name = missing[0] if missing else self._any_way(self._ways.keys())
            if name in met_nobody:
                # On a slow machine nobody would live long enough to be met by chance.
                self._site.wait_until_up()
            # One in four may meet nobody.
            elif self._dice.random() < 0.75:
                self._site.wait_until_it_works()
            if self._ways[name][1]():
                self.kills[name] += 1
                missing = [other for other in missing if other != name]
                met_nobody.discard(name)
            else:
                missing = missing[1:] + missing[:1]
                met_nobody.add(name)
        return missing

    def keep_calm(self, seconds: float) -> None:
        self._site.wait_until_up()
        self._wait_until(time.monotonic() + seconds)

    def end_all(self) -> None:
        """The last power cut."""
        for place in self._site.places:
            place.strike()
        for place in self._site.places:
            self._bury(place)

    def _any_way(self, among: Set[str]) -> str:
        names = sorted(among)
        return self._dice.choices(names, [self._ways[name][0] for name in names])[0]

    def _any_place(self, places: list[Place]) -> Place:
        """Rather one that has something to lose."""
        return self._dice.choice([place for place in places if place.is_up()] or places)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._site.revive()
            time.sleep(min(left, _LOOK_SECONDS))

    def _bury(self, place: Place) -> None:
        pid = place.pid
        place.end()
        if not place.is_server:
            self.held.update(self._site.held_by(pid))

    def _kill(self, *places: Place) -> bool:
        self.dead += sum(place.strike() for place in places)
        for place in places:
            self._bury(place)
        for place in places:
            place.start()
        return True

    # -- at random moments

    def _kill_child(self) -> bool:
        children = [child for place in self._site.servers for child in place.children()]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._dice.choice(children), signal.SIGKILL)
                self.dead += 1
        return bool(children)

    def _kill_server(self) -> bool:
        return self._kill(self._any_place(self._site.servers))

    def _kill_parent(self) -> bool:
        parent = self._site.servers[0]
        children = parent.children()
        os.kill(parent.pid, signal.SIGKILL)
        # They notice, answer what they have, and end.
        deadline = time.monotonic() + _STEP_SECONDS
        while any(os.path.exists(f"/proc/{child}/exe") for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._kill(parent) and bool(children)

    def _kill_worker(self) -> bool:
        return self._kill(self._any_place(self._site.workers))

    def _kill_everything(self) -> bool:
        if not self._site.server:
            return self._kill(*self._site.places)
        for place in self._site.places:
            place.strike()
        return self._kill_database() and self._kill(*self._site.places)

    def _kill_database(self) -> bool:
        assert self._site.server
        self._site.server.stop(signal.SIGQUIT)
        self.dead += 1
        time.sleep(self._dice.uniform(0, 1))
        self._site.server.start()
        return True

    # -- at certain steps

    def _kill_after_an_answer(self) -> bool:
        with self._journal.trap() as trap:
            if not trap.sprung.wait(_STEP_SECONDS):
                return False
            # What was promised must not hang on anybody who still lives.
            return self._kill(self._site.servers[self._site.urls.index(trap.url)], *self._site.workers)

    def _kill_after_a_commit(self) -> bool:
        with self._site.committed() as who:
            return self._kill_the_one(who)

    def _kill_at_step(self, step: str) -> bool:
        with self._mail.holding(step) as hold:
            if not hold.reached.wait(_STEP_SECONDS):
                return False
            sql = (
                "SELECT lease_owner FROM outbox "
                f"WHERE address = '{hold.address}' AND status = 'due' AND lease_owner IS NOT NULL"
            )
            owners = {int(owner.rpartition(":")[2]) for (owner,) in self._site.rows(sql)}
            places = [place for place in self._site.workers if place.pid in owners]
            return bool(places) and self._kill(*places)

    def _kill_before_row(self, table: str) -> bool:
        with self._site.slow_before(table) as who:
            return self._kill_the_one(who)

    def _kill_the_one(self, who: Callable[[], int | None]) -> bool:
        deadline = time.monotonic() + _STEP_SECONDS
        while not (pid := who()):
            if time.monotonic() > deadline:
                return False
        os.kill(pid, signal.SIGKILL)
        # A child is replaced by its parent.
        self.dead += pid not in [place.pid for place in self._site.servers]
        for place in self._site.servers:
            if place.pid == pid:
                self._kill(place)
        return True

    def _kill_purge(self) -> bool:
        self._abandon()
        with self._site.asking() as ask, self._site.usersvc.running("purge-tokens") as purge:
            counted = "SELECT count(*) FROM users WHERE email LIKE 'gone%'"
            begun = ask(counted)
            while ask(counted) == begun and purge.process.poll() is None:
                time.sleep(0.002)
            is_killed = purge.process.poll() is None
            self.dead += is_killed
            return is_killed

    def _abandon(self) -> None:
        """People who registered a month ago, each with a mail that goes where the account goes."""
        then = datetime.now(UTC) - timedelta(days=30)
        ids = [new_id(then) for _ in range(_ABANDONED)]
        people = [
            {
                "id": number,
                "email": f"gone{number.hex}@example.org",
                "email_key": f"gone{number.hex}@example.org",
                "role": "user",
                "status": "pending",
            }
            | dict.fromkeys(("registered_at", "created_at", "updated_at"), then)
            for number in ids
        ]
        mails = [
            {
                "id": new_id(then),
                "kind": "activation",
                "user_id": number,
                "address": f"gone{number.hex}@example.org",
                "data": {},
                "message_id": f"<{number}.gone>",
                "status": "failed",
                "attempts": 1,
            }
            | dict.fromkeys(("next_attempt_at", "created_at", "give_up_at"), then)
            for number in ids
        ]
        patience = {} if self._site.server else {"timeout": 30}
        engine = create_engine(self._site.database_address, connect_args=patience)
        with engine.begin() as connection:
            connection.execute(insert(users), people)
            connection.execute(insert(outbox), mails)
        engine.dispose()
        self.abandoned.update(ids)
