"""Several machines' worth of processes on one PostgreSQL: two servers of two processes each, two workers."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.factories import PASSWORD, token_in_file
from tests.processes import Running, Usersvc, eventually, free_port
from tests.servers import PostgreSQL, postgresql

pytestmark = [pytest.mark.process, pytest.mark.postgresql]

SECRET = "h3Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0="
OTHER_PASSWORD = "copper meadow 19 kite"


@dataclass
class Machine:
    """Two servers and two workers, each in its own process, of one folder."""

    usersvc: Usersvc
    server: PostgreSQL
    database: str
    urls: list[str] = field(default_factory=list)
    processes: list[Running] = field(default_factory=list)

    def rows(self, sql: str) -> list[Any]:
        return self.server.execute(sql, database=self.database)

    def call(self, number: int, method: str, path: str, body: Any = None, token: str = "") -> httpx2.Response:
        """By the server whose turn it is, as a client with a network of its own."""
        headers = {"X-Forwarded-For": f"203.0.{number // 250}.{number % 250 + 1}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.urls[number % len(self.urls)]}/api/v1{path}"
        return httpx2.request(method, url, json=body, headers=headers, timeout=30)

    def insistent(self, number: int, path: str, body: Any, token: str = "") -> httpx2.Response:
        """Again after each honest 503."""
        while (answer := self.call(number, "POST", path, body, token)).status_code == 503:
            time.sleep(int(answer.headers["retry-after"]) / 4)
        return answer

    def mails(self, kind: str) -> list[Path]:
        return [path for path in self.usersvc.mails() if path.stem.endswith(f".{kind}")]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: PostgreSQL) -> Iterator[Machine]:
    """Nothing was migrated before: all of them start at once on an empty database."""
    database = server.new_database()
    usersvc = Usersvc(tmp_path)
    usersvc.environ |= {
        "USERSVC_DATABASE__URL": server.address(database),
        "USERSVC_SERVER__SECRET_KEY": SECRET,
        "USERSVC_MAIL__TRANSPORT": "file",
        "USERSVC_SERVER__PUBLIC_URL": usersvc.url,
        "USERSVC_SERVER__TRUSTED_PROXIES": "127.0.0.1",
    }
    machine = Machine(usersvc, server, database)
    with ExitStack() as stack:
        for port in (usersvc.port, free_port()):
            arguments = ("serve", "--workers", "2", "--port", str(port))
            machine.processes.append(stack.enter_context(usersvc.running(*arguments)))
            machine.urls.append(f"http://127.0.0.1:{port}")
        machine.processes += [stack.enter_context(usersvc.running("worker")) for _ in range(2)]
        for process, url in zip(machine.processes, machine.urls, strict=False):
            process.wait_until(lambda url=url: _is_ready(url), "it is ready")
        for process in machine.processes[2:]:
            process.wait_until(lambda process=process: "worker started" in process.output, "it is up")
        yield machine
        for process in machine.processes:
            assert process.stop() == 0, process.output
            assert "Traceback" not in process.output
    server.drop_database(database)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def test_the_main_job_and_its_races_on_several_servers_and_workers(machine: Machine) -> None:
    with ThreadPoolExecutor(24) as pool:
        _one_address_is_registered_once(machine, pool)
        _a_token_is_spent_once(machine, pool)
        _everybody_gets_one_mail(machine, pool)
        _one_administrator_stays(machine, pool)
    assert machine.rows("SELECT count(*) FROM audit WHERE action = 'schema.migrated'") == [(1,)]
    assert machine.rows("SELECT count(*) FROM keys") == [(5,)]
    purges = "SELECT count(*) FROM audit WHERE action = 'data.purged'"
    assert machine.rows(purges)[0][0] <= 2, "of the start, and of the hour if one began meanwhile"


def _one_address_is_registered_once(machine: Machine, pool: ThreadPoolExecutor) -> None:
    body = {"email": "ada@example.org", "password": PASSWORD}
    answers = pool.map(lambda number: machine.insistent(number, "/users", body).status_code, range(24))
    assert set(answers) == {202}
    eventually(lambda: machine.rows("SELECT 1 FROM outbox WHERE status = 'due'") == [])
    assert machine.rows("SELECT count(*) FROM users") == [(1,)]
    assert len(machine.mails("activation")) == 1


def _a_token_is_spent_once(machine: Machine, pool: ThreadPoolExecutor) -> None:
    [mail] = machine.mails("activation")
    body = {"token": token_in_file(mail)}
    codes = list(
        pool.map(lambda number: machine.insistent(number, "/auth/activate", body).status_code, range(24))
    )
    assert sorted(codes) == [200] + [422] * 23
    login = machine.insistent(1, "/auth/login", {"email": "ada@example.org", "password": PASSWORD}).json()
    body = {"refresh_token": login["data"]["refresh_token"]}
    answers = list(pool.map(lambda number: machine.insistent(number, "/auth/refresh", body), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"]["refresh_token"] for answer in answers}) == 1
    machine.insistent(1, "/auth/forgot-password", {"email": "ada@example.org"})
    [mail] = eventually(lambda: machine.mails("password_reset"))
    body = {"reset_token": token_in_file(mail), "new_password": OTHER_PASSWORD}
    codes = list(
        pool.map(
            lambda number: machine.insistent(number, "/auth/reset-password", body).status_code, range(24)
        )
    )
    assert sorted(codes) == [200] + [422] * 23


def _everybody_gets_one_mail(machine: Machine, pool: ThreadPoolExecutor) -> None:
    def register(number: int) -> int:
        body = {"email": f"u{number}@example.org", "password": PASSWORD}
        return machine.insistent(number, "/users", body).status_code

    assert set(pool.map(register, range(60))) == {202}
    eventually(lambda: machine.rows("SELECT 1 FROM outbox WHERE status = 'due'") == [], seconds=60)
    assert len(machine.mails("activation")) == 61
    to = Counter(
        path.read_text().partition("\nTo: ")[2].splitlines()[0] for path in machine.mails("activation")
    )
    assert set(to.values()) == {1}


def _one_administrator_stays(machine: Machine, pool: ThreadPoolExecutor) -> None:
    names = ["root1@example.org", "root2@example.org", "root3@example.org"]
    for name in names:
        machine.usersvc.run("create-admin", name, "--password-stdin", text=f"{PASSWORD}\n")
    pairs = [
        machine.insistent(number, "/auth/login", {"email": name, "password": PASSWORD}).json()["data"]
        for number, name in enumerate(names)
    ]
    ids = dict(machine.rows("SELECT email, id FROM users WHERE role = 'admin'"))

    def deactivate(number: int) -> int:
        who, whom = number % 3, (number + 1 + number // 3 % 2) % 3
        path = f"/admin/users/{ids[names[whom]]}/deactivate"
        return machine.call(number, "PATCH", path, token=pairs[who]["access_token"]).status_code

    codes = set(pool.map(deactivate, range(24)))
    assert codes <= {200, 401, 403, 409, 503}
    living = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'"
    assert machine.rows(living) == [(1,)]


def test_guesses_are_counted_over_all_servers(machine: Machine) -> None:
    machine.usersvc.run("create-admin", "root@example.org", "--password-stdin", text=f"{PASSWORD}\n")
    guesses = ["wrong password 123"] * 120
    guesses[60] = PASSWORD

    def guess(number: int) -> str:
        url = f"{machine.urls[number % 2]}/api/v1/auth/login"
        body = {"email": "root@example.org", "password": guesses[number]}
        answer = httpx2.post(url, json=body, headers={"X-Forwarded-For": "192.0.2.1"}, timeout=30).json()
        return "in" if answer["success"] else str(answer["error"]["code"])

    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(guess, range(120)))
    assert found[60] != "in"
    assert Counter(found)["INVALID_CREDENTIALS"] <= 5
    assert set(found) <= {"INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS", "OVERLOADED", "DATABASE_BUSY"}


def test_r16_a_restart_of_the_database_under_load_is_survived_and_loses_nothing(machine: Machine) -> None:
    acknowledged: list[str] = []
    codes: Counter[int] = Counter()
    refused_at: list[float] = []
    over = threading.Event()

    def register(client: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            email = f"c{client}n{number}@example.org"
            answer = machine.call(
                client * 1000 + number, "POST", "/users", {"email": email, "password": PASSWORD}
            )
            codes[answer.status_code] += 1
            if answer.status_code == 202:
                acknowledged.append(email)
            else:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) >= 1
                refused_at.append(time.monotonic())

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(register, client) for client in range(6)]
        time.sleep(2)
        machine.server.stop(signal.SIGINT)  # as `pg_ctl restart -m fast` does
        time.sleep(1)
        machine.server.start()
        back_at = time.monotonic()
        time.sleep(7)
        before = len(acknowledged)
        time.sleep(2)
        over.set()
        for client in clients:
            client.result()
    assert codes[503], "nobody noticed"
    late = [at - back_at for at in refused_at if at > back_at + 5]
    assert late == [], "refused long after the database was back"
    assert len(acknowledged) > before > 0, "it goes on without a restart"
    # What a worker held when the database went away is free again when its lease is over.
    machine.rows("UPDATE outbox SET lease_until = now() WHERE lease_until IS NOT NULL RETURNING 1")
    eventually(lambda: machine.rows("SELECT 1 FROM outbox WHERE status = 'due'") == [], seconds=90)
    found = {email for (email,) in machine.rows("SELECT email FROM users")}
    assert set(acknowledged) <= found
    mailed = Counter(email for (email,) in machine.rows("SELECT address FROM outbox WHERE status = 'sent'"))
    assert set(acknowledged) <= set(mailed)
