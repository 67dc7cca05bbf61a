"""Warnings of workers that are not there, by whoever serves."""

from typing import Any

import pytest

from tests import outbox as mails
from tests.conftest import Make
from usersvc.clock import MovedClock
from usersvc.services import health, watching


def _told(caplog: pytest.LogCaptureFixture) -> list[Any]:
    told = [record.msg for record in caplog.records if record.name == "usersvc.watching"]
    caplog.clear()
    return [(line["event"], line["found"]) for line in told]


def test_r30_one_of_all_servers_warns_once_in_five_minutes_as_long_as_it_lasts(
    make_core: Make, clock: MovedClock, caplog: pytest.LogCaptureFixture
) -> None:
    servers = [make_core(), make_core()]
    for server in servers:
        watching.warn(server)
    assert _told(caplog) == [("worker", "none was ever seen: no mail goes out")]

    mails.queue(servers[0])
    health.beat(servers[0])
    clock.move(minutes=2)
    for server in servers:
        watching.warn(server)
    assert _told(caplog) == []

    for minutes in (7, 12):
        clock.move(minutes=5)
        for server in servers:
            watching.warn(server)
        assert _told(caplog) == [
            ("worker", f"seen last {minutes} min ago: no mail goes out"),
            ("outbox", f"1 waiting, one of them overdue for {minutes} min"),
        ]

    health.beat(servers[0])
    mails.deliver(servers[0])
    clock.move(minutes=5)
    health.beat(servers[0])
    watching.warn(servers[1])
    assert _told(caplog) == []
