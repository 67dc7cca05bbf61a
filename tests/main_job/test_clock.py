"""Processes whose clock is set forward and back, as a library that stands before the system's tells them."""

import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.factories import PASSWORD, token_in_file
from tests.processes import PATIENCE_SECONDS, Running, Usersvc, eventually

pytestmark = [pytest.mark.process, pytest.mark.sqlite]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Between two purges: no step may come near one by chance.
_PAST_THE_HOUR = timedelta(minutes=30)
# The worker looks once a minute what is due by the clock; here once a second.
_HURRIED = "from huey.consumer import Scheduler\nScheduler.periodic_task_seconds = 1\n"


class Site:
    """One folder, and the clock that is seen by what runs there."""

    def __init__(self, folder: Path) -> None:
        self.usersvc = Usersvc(folder)
        self._clock = folder / "clock"
        now = datetime.now(UTC)
        self._start = _PAST_THE_HOUR - timedelta(minutes=now.minute, seconds=now.second)
        (folder / "hurried").mkdir()
        (folder / "hurried" / "sitecustomize.py").write_text(_HURRIED, encoding="utf-8")
        self.usersvc.environ |= {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            # Seconds. To look at each call costs more than everything else.
            "FAKETIME_CACHE_DURATION": "1",
            # As the name is, and as it was.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(folder / "hurried"),
        }
        self.sent: Counter[str] = Counter()
        self.set_clock(timedelta())

    def set_clock(self, step: timedelta) -> None:
        """So far from where it began."""
        self._off = self._start + step
        new = self._clock.with_suffix(".new")
        new.write_text(f"{self._off.total_seconds():+.0f}\n", encoding="ascii")
        new.replace(self._clock)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._off

    def start(self, stack: ExitStack, *, in_one: bool) -> list[Running]:
        """A server and a worker, in one process or in two."""
        if in_one:
            return [stack.enter_context(self.usersvc.serving())]
        server = stack.enter_context(self.usersvc.serving("--no-worker"))
        worker = stack.enter_context(self.usersvc.running("worker"))
        worker.wait_until(lambda: "worker started" in worker.output, "it is up")
        return [server, worker]

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.usersvc.database, timeout=PATIENCE_SECONDS)) as connection:
            return connection.execute(sql).fetchall()

    def purges(self) -> int:
        [(number,)] = self.rows("SELECT count(*) FROM audit WHERE action = 'data.purged'")
        return int(number)

    def registers(self, email: str) -> None:
        """And gets one mail, whose link works."""
        body = {"email": email, "password": PASSWORD}
        assert self.usersvc.post("/users", body).status_code == 202
        self.sent[email] = 1
        [mail] = eventually(lambda: [path for path in self.usersvc.mails() if email in path.read_text()])
        assert self.usersvc.post("/auth/activate", {"token": token_in_file(mail)}).status_code == 200

    def logs_in(self, email: str) -> dict[str, str]:
        pair: dict[str, str] = self.usersvc.post(
            "/auth/login", {"email": email, "password": PASSWORD}
        ).json()["data"]
        assert self.usersvc.me(pair["access_token"]).status_code == 200
        return pair

    def refreshes(self, pair: dict[str, str]) -> dict[str, str]:
        answer = self.usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
        assert answer.status_code == 200, answer.text
        new: dict[str, str] = answer.json()["data"]
        assert self.usersvc.me(new["access_token"]).status_code == 200
        return new

    def worker_follows(self) -> None:
        """It goes on by the clock as that is now."""

        def follows() -> bool:
            [(seen,)] = self.rows("SELECT finished_at FROM jobs WHERE name = 'worker'")
            return abs(datetime.fromisoformat(seen).replace(tzinfo=UTC) - self.now()) < timedelta(minutes=5)

        eventually(follows)


def _library() -> str:
    """Debian's, for its own architecture, or that of the package."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    package = find_spec("libfaketime")
    assert package
    assert package.origin
    brought = Path(package.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return str([*found, brought][0])


def _is_refused(usersvc: Usersvc, pair: dict[str, str], code: str) -> bool:
    """The process has noticed its clock then."""
    answer = usersvc.me(pair["access_token"])
    return answer.status_code == 401 and answer.json()["error"]["code"] == code


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_r20_a_clock_that_steps_stops_nothing_and_does_nothing_twice(tmp_path: Path, restarted: bool) -> None:
    site = Site(tmp_path)
    usersvc = site.usersvc
    with ExitStack() as stack:
        running = site.start(stack, in_one=restarted)
        site.registers("first@example.org")
        pair = site.logs_in("first@example.org")
        eventually(lambda: site.purges() == 1)
        for number, (step, purges, refused) in enumerate(
            (
                (HOUR, 2, "TOKEN_EXPIRED"),
                # What was issued an hour ahead of now is believed only when its time has come.
                (-HOUR, 2, "INVALID_TOKEN"),
                (DAY, 3, "TOKEN_EXPIRED"),
            )
        ):
            if restarted:
                assert {process.stop() for process in running} == {0}
            site.set_clock(step)
            if restarted:
                running = site.start(stack, in_one=restarted)
            eventually(lambda pair=pair, refused=refused: _is_refused(usersvc, pair, refused))
            pair = site.refreshes(pair)
            site.logs_in("first@example.org")
            site.registers(f"n{number}@example.org")
            site.worker_follows()
            eventually(lambda purges=purges: site.purges() >= purges)
            assert site.purges() == purges
        assert {process.stop() for process in running} == {0}
        assert not any("Traceback" in process.output for process in running)
    mails = [path.read_text(encoding="utf-8") for path in usersvc.mails()]
    to = Counter(mail.partition("\nTo: ")[2].splitlines()[0] for mail in mails)
    assert to == site.sent
    assert set(site.rows("SELECT DISTINCT status, attempts FROM outbox")) == {("sent", 1)}
