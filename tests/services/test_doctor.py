"""The checks of `usersvc doctor` where their input decides; tests/cli/test_doctor.py puts real faults in."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import Make
from tests.factories import an_admin
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db import integrity
from usersvc.mail.errors import NotSent
from usersvc.mail.route import Route
from usersvc.mail.transports import MemoryTransport
from usersvc.services import doctor, health
from usersvc.services.checks import database, files, machine, settings, workers
from usersvc.services.checks.finding import Finding, State, Verdict, duration, ok, size

MIB, GIB = 2**20, 2**30
HTTPS = {"server__public_url": "https://users.example.org", "server__trusted_proxies": "10.0.0.1"}
SMTP = {"mail__transport": "smtp", "mail__smtp_host": "m.example.org", "mail__from_address": "a@example.org"}


def examined(core: Core) -> dict[str, Finding]:
    found = doctor.examine(core, mistakes=[], queue=lambda _: ok("well"))
    return {finding.check: finding for finding in found}


def test_nothing_is_wrong(core: Core) -> None:
    an_admin(core)
    health.beat(core)
    assert {finding.state for finding in examined(core).values()} == {State.OK}


def test_a_check_that_meets_what_nobody_foresaw_has_failed_and_keeps_no_other_from_being_done(
    core: Core,
) -> None:
    def broken(_: Core) -> Verdict:
        raise ZeroDivisionError("of ada@example.org\nand more")

    findings = list(doctor.examine(core, mistakes=[], queue=broken))
    [queue] = [finding for finding in findings if finding.check == "queue"]
    assert (queue.state, queue.found) == (State.FAILED, "ZeroDivisionError: of a***@example.org")
    assert queue.remedy
    after = findings[findings.index(queue) + 1 :]
    assert after
    assert State.SKIPPED not in {finding.state for finding in after}


def test_a_table_that_is_gone_fails_what_needs_it_alone(core: Core) -> None:
    an_admin(core)
    with core.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE outbox")
    failed = {name for name, finding in examined(core).items() if finding.state is State.FAILED}
    assert failed == {"worker", "outbox"}


def test_all_names_that_a_check_needs_are_those_of_earlier_checks() -> None:
    before = {"settings"}
    for check in doctor.checks(lambda _: ok("well")):
        assert set(check.needs) <= before
        before.add(check.name)


# -- settings


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, []),
        (HTTPS | SMTP, []),
        ({"server__public_url": "http://users.example.org"}, ["in the clear"]),
        (HTTPS, ["nobody gets a mail"]),
        (HTTPS | {"mail__transport": "console"}, ["nobody gets a mail"]),
        ({"throttle__enabled": "false"}, ["guessed"]),
        (
            {"server__public_url": "http://users.example.org", "throttle__enabled": "false"},
            ["in the clear", "guessed"],
        ),
    ],
)
def test_settings_that_are_right_and_leave_something_open(
    make_core: Make, values: dict[str, str], told: list[str]
) -> None:
    verdicts = settings.look(make_core(**values).settings)
    if not told:
        assert [verdict.state for verdict in verdicts] == [State.OK]
        return
    assert [verdict.state for verdict in verdicts] == [State.WARNING] * len(told)
    for verdict, words in zip(verdicts, told, strict=True):
        assert words in verdict.found
        assert verdict.remedy


@pytest.mark.parametrize(
    ("url", "trusted", "state"),
    [
        ("", "", State.OK),
        ("https://users.example.org", "", State.WARNING),
        ("https://users.example.org", "10.0.0.1", State.OK),
        ("https://users.example.org", "10.0.0.1, 0.0.0.0/0", State.WARNING),
        ("", "::/0", State.WARNING),
    ],
)
def test_proxies(make_core: Make, url: str, trusted: str, state: State) -> None:
    core = make_core(server__public_url=url, server__trusted_proxies=trusted)
    assert settings.proxies(core.settings).state is state


# -- the database


@pytest.mark.sqlite
def test_a_database_too_large_to_be_checked_in_time_is_a_warning(core: Core) -> None:
    with core.read() as tx:
        assert integrity.problems(tx.connection, seconds=30) == []
    with core.write() as tx:
        tx.connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO throttle "
            "SELECT 'login', CAST(i AS BLOB), '2030-01-01', 1, 1, NULL, '2030-01-01' FROM n"
        )
    with core.read() as tx:
        assert integrity.problems(tx.connection, seconds=0) is None
        assert integrity.problems(tx.connection, seconds=30) == []


@pytest.mark.sqlite
def test_pages_that_no_table_and_no_index_knows_are_found(core: Core) -> None:
    an_admin(core)
    with core.write() as tx:
        tx.connection.exec_driver_sql("PRAGMA writable_schema = ON")
        tx.connection.exec_driver_sql("DELETE FROM sqlite_master WHERE name = 'ix_users_created_at_id'")
    core.database.close()  # a new connection reads the schema anew
    verdict = database.is_whole(core)
    assert verdict.state is State.FAILED
    assert "never used" in verdict.found


@pytest.mark.sqlite
def test_a_file_that_was_emptied_is_told_as_such(core: Core) -> None:
    core.close()
    os.truncate(core.database.path, 0)
    verdict = database.there(core)
    assert (verdict.state, verdict.found) == (State.FAILED, f"{core.database.path} is empty")


@pytest.mark.sqlite
def test_a_database_that_others_can_read_is_a_warning(core: Core) -> None:
    core.database.path.chmod(0o644)
    verdict = files.permissions(core)
    assert (verdict.state, verdict.remedy) == (State.WARNING, f"chmod 600 {core.database.path}")


@pytest.mark.sqlite
def test_a_write_ahead_log_that_is_not_emptied_is_a_warning(core: Core) -> None:
    log = core.database.path.with_name("usersvc.db-wal")
    assert core.database.log_bytes == log.stat().st_size
    os.truncate(log, 300 * MIB)
    verdict = database.there(core)
    assert verdict.state is State.WARNING
    assert "300.0 MiB" in verdict.found


# -- workers and mail


@pytest.mark.parametrize(("minutes", "state"), [(0, State.OK), (3, State.OK), (3.1, State.FAILED)])
def test_a_worker_that_is_silent(core: Core, clock: MovedClock, minutes: float, state: State) -> None:
    health.beat(core)
    clock.move(minutes=minutes)
    assert workers.worker(core).state is state


@pytest.mark.parametrize(
    ("left", "state"),
    [
        (timedelta(days=15), State.OK),
        (timedelta(days=13), State.WARNING),
        (timedelta(hours=3), State.WARNING),
    ],
)
def test_a_certificate_that_ends(core: Core, clock: MovedClock, left: timedelta, state: State) -> None:
    class Certified(MemoryTransport):
        def check(self) -> Route:
            return Route("mail.example.org:587", clock.now() + left)

    core.transport = Certified()
    found = examined(core)["mail"]
    assert found.state is state
    assert duration(left) in found.found


def test_mail_that_has_no_way_names_the_settings_to_look_at(make_core: Make) -> None:
    class Unreachable(MemoryTransport):
        def check(self) -> Route:
            raise NotSent("no connection")

    for values, word in (({}, "writable"), (SMTP, "mail.smtp_security")):
        core = make_core(**values)
        core.transport = Unreachable()
        found = examined(core)["mail"]
        assert found.state is State.FAILED
        assert word in str(found.remedy)


# -- the machine


@pytest.mark.parametrize(
    ("total", "free", "files", "state"),
    [
        (100 * GIB, 50 * GIB, 10**6, State.OK),
        (100 * GIB, 2 * GIB, 10**6, State.OK),
        (2 * GIB, GIB // 2, 10**6, State.OK),
        (100 * GIB, GIB - 1, 10**6, State.WARNING),
        (100 * GIB, 100 * MIB, 10**6, State.WARNING),
        (100 * GIB, 100 * MIB - 1, 10**6, State.FAILED),
        (50 * MIB, 50 * MIB, 10**6, State.FAILED),
        (100 * GIB, 50 * GIB, None, State.OK),
        (100 * GIB, 50 * GIB, 999, State.WARNING),
        (100 * GIB, 50 * GIB, 99, State.FAILED),
        (100 * GIB, GIB - 1, 99, State.FAILED),
    ],
)
def test_room_on_the_disk(total: int, free: int, files: int | None, state: State) -> None:
    verdict = machine.space(Path("data"), total=total, free=free, files=files)
    assert verdict.state is state
    assert bool(verdict.remedy) == (state is not State.OK)


@pytest.mark.parametrize(("seconds", "state"), [(-59, State.OK), (-61, State.FAILED)])
def test_a_clock_may_be_a_minute_behind_the_database(
    core: Core, clock: MovedClock, seconds: int, state: State
) -> None:
    health.beat(core)
    clock.move(seconds=seconds)
    assert machine.clock(core).state is state


def test_durations_and_sizes_for_people() -> None:
    assert [duration(timedelta(seconds=s)) for s in (0, 119, 120, 7200, 172_800)] == [
        "0 s",
        "119 s",
        "2 min",
        "2 h",
        "2 days",
    ]
    assert [size(n) for n in (0, 1023, 1024, 3 * MIB, 5 * GIB)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]
