"""Many threads of several processes that read and write one database file, and what each was told.

python -m tests.faults.crowd --seconds 60
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import settings_for
from tests.factories import PASSWORD
from usersvc import logs
from usersvc.core import Core, build
from usersvc.db.types import WRITE_WAIT_SECONDS
from usersvc.errors import DatabaseBusy, Overloaded
from usersvc.services import accounts, keys, login, migration, registration, sessions
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

PROCESSES = 4
THREADS = 16
_ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, "-m", "tests.faults.crowd"]
_PATIENCE_SECONDS = 60
_WRITTEN = """
    SELECT username,
        (SELECT count(*) FROM audit WHERE target_id = users.id AND action = 'user.renamed'),
        (SELECT seq FROM sessions WHERE user_id = users.id),
        (SELECT count(*) FROM outbox WHERE address = users.email AND kind = 'resend_activation')
    FROM users WHERE email = :email
"""


@dataclass
class Told:
    """What one thread was told."""

    email: str
    renamed: int = 0
    name: str = ""
    refreshed: int = 0
    asked: int = 0
    """For another mail: a row in the outbox each."""
    read: int = 0
    busy: int = 0
    slowest: float = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.renamed + self.refreshed + self.asked


class _Member:
    def __init__(self, core: Core, number: int) -> None:
        self._core = core
        self._name = f"user{number}"
        self.told = Told(f"{self._name}@example.org")
        # bcrypt's queue has a share for each network.
        self._actor = Actor("anonymous", ip=f"198.18.{number}.1")

    def live(self, seconds: float) -> Told:
        try:
            credentials = {"email": self.told.email, "password": PASSWORD, "actor": self._actor}
            _insistent(lambda: registration.register(self._core, **credentials))
            self._pair = _insistent(lambda: login.log_in(self._core, **credentials))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for step in (self._rename, self._look, self._refresh, self._look, self._ask_for_mail):
                    self._try(step)
        except Exception as error:
            self.told.wrong.append(f"{type(error).__name__}: {error}")
        return self.told

    def _try(self, step: Callable[[], None]) -> None:
        """Who is told to come again has waited long enough, and changed nothing."""
        begun = time.monotonic()
        try:
            step()
        except DatabaseBusy:
            self.told.busy += 1
            if (after := time.monotonic() - begun) < 0.9 * WRITE_WAIT_SECONDS:
                self.told.wrong.append(f"{self.told.email} was told to come again after {after:.2f} s")
        self.told.slowest = max(self.told.slowest, time.monotonic() - begun)

    def _rename(self) -> None:
        name = f"{self._name}-{self.told.renamed}"
        accounts.change(self._core, username=name, actor=self._signed_in())
        self.told.name, self.told.renamed = name, self.told.renamed + 1

    def _refresh(self) -> None:
        self._pair = sessions.refresh(self._core, refresh_token=self._pair.refresh_token, actor=self._actor)
        self.told.refreshed += 1

    def _ask_for_mail(self) -> None:
        registration.resend_activation(self._core, email=self.told.email, actor=self._actor)
        self.told.asked += 1

    def _look(self) -> None:
        [session] = sessions.list_own(self._core, actor=self._signed_in())
        assert session.current
        self.told.read += 1

    def _signed_in(self) -> Actor:
        actor, account = authenticate(self._core, access_token=self._pair.access_token, actor=self._actor)
        assert (account.email, account.username or "") == (self.told.email, self.told.name)
        return actor


def _insistent(step: Callable[[], Any]) -> Any:
    while True:
        try:
            return step()
        except (Overloaded, DatabaseBusy):
            time.sleep(0.02)


def _core(folder: Path) -> Core:
    core = build(settings_for(folder, registration__activation=False, throttle__enabled=False))
    migration.prepare(core)
    keys.open_ring(core)
    return core


def one_process(folder: Path, first: int, seconds: float) -> list[Told]:
    core = _core(folder)
    members = [_Member(core, number) for number in range(first, first + THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(lambda member: member.live(seconds), members))
    core.close()
    return told


def crowd(folder: Path, *, seconds: float) -> list[Told]:
    """On a database in an empty folder, which stays to be looked at."""
    _core(folder).close()
    processes = [
        subprocess.Popen(
            [*_COMMAND, "--folder", folder, "--first", str(first), "--seconds", str(seconds)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
        )
        for first in range(0, PROCESSES * THREADS, THREADS)
    ]
    outputs = [process.communicate(timeout=seconds + _PATIENCE_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    return [Told(**told) for output in outputs for told in json.loads(output)]


def findings(folder: Path, told: list[Told]) -> list[str]:
    """What is not as it was told; nothing that was, and nothing that was not, may be missing or more."""
    with closing(sqlite3.connect(folder / "usersvc.db")) as database:
        wrong = [why for each in told for why in each.wrong]
        wrong += [
            f"damaged: {line}" for (line,) in database.execute("PRAGMA integrity_check") if line != "ok"
        ]
        for each in told:
            found = database.execute(_WRITTEN, {"email": each.email}).fetchone()
            expected = (each.name or None, each.renamed, each.refreshed + 1, each.asked)
            if found != expected:
                wrong.append(f"{each.email} was told {expected}, and there is {found}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crowd", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logs.configure(form="json")
    if asked.folder:
        json.dump(
            [asdict(told) for told in one_process(asked.folder, asked.first, asked.seconds)], sys.stdout
        )
        return
    with tempfile.TemporaryDirectory(prefix="usersvc-crowd-") as folder:
        told = crowd(Path(folder), seconds=asked.seconds)
        wrong = findings(Path(folder), told)
    print(
        f"{sum(each.read for each in told)} reads, {sum(each.written for each in told)} writes, "
        f"{sum(each.busy for each in told)} told to come again; the slowest took "
        f"{max(each.slowest for each in told):.1f} s"
    )
    print("\n".join(["WRONG:", *wrong]) if wrong else "nothing is wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
