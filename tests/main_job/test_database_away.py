"""PostgreSQL goes and comes back under load: an honest 503, no restart, and nothing acknowledged is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.factories import PASSWORD
from tests.main_job.machines import Machines, machines
from tests.processes import eventually

pytestmark = [pytest.mark.process, pytest.mark.postgresql]

CLIENTS = 6


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Machines]:
    with machines("postgresql", tmp_path) as found:
        yield found


class Load:
    """Clients that register one person after the other, and write down what they were told."""

    def __init__(self, several: Machines) -> None:
        self._several = several
        self._over = threading.Event()
        self.acknowledged: list[str] = []
        self.refused_at: list[float] = []

    def register(self, client: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            body = {"email": f"c{client}n{number}@example.org", "password": PASSWORD}
            asked_at = time.monotonic()
            answer = self._several.call("POST", "/users", body, network=client * 1000 + number)
            if answer.status_code == 202:
                self.acknowledged.append(body["email"])
            else:
                assert answer.status_code == 503, answer.text
                assert 1 <= int(answer.headers["retry-after"]) <= 5
                self.refused_at.append(asked_at)

    def end(self) -> None:
        self._over.set()


def test_r16_a_restart_of_the_database_under_load_is_survived_and_loses_nothing(several: Machines) -> None:
    load = Load(several)
    assert several.server
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.register, client) for client in range(CLIENTS)]
        eventually(lambda: load.acknowledged)
        several.server.stop(signal.SIGINT)  # as `pg_ctl restart -m fast` does
        eventually(lambda: load.refused_at)
        time.sleep(1)
        several.server.start()
        back_at = time.monotonic()
        time.sleep(7)
        before = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > before)
        load.end()
        for client in clients:
            client.result()
    assert [at - back_at for at in load.refused_at if at > back_at + 5] == []
    # What a worker held when the database went away is free again when its lease is over.
    several.rows("UPDATE outbox SET lease_until = now() WHERE lease_until IS NOT NULL RETURNING 1")
    eventually(lambda: several.rows("SELECT 1 FROM outbox WHERE status = 'due'") == [])
    found = {email for (email,) in several.rows("SELECT email FROM users")}
    assert set(load.acknowledged) <= found
    assert set(load.acknowledged) <= set(several.recipients("activation"))
