"""Races on each database: servers of several processes and workers, and what the database holds then."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from tests.factories import OTHER_PASSWORD, PASSWORD, token_in_file
from tests.main_job.machines import KINDS, Machines, machines
from tests.processes import eventually

pytestmark = [pytest.mark.process, pytest.mark.long]

AT_ONCE = 24


DATABASES = KINDS[:2]


@pytest.fixture(params=DATABASES)
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    with machines(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool


def test_r21_a42_whoever_races_things_happen_once_and_guesses_are_counted_over_all_servers(
    several: Machines, pool: ThreadPoolExecutor
) -> None:
    _one_address_is_registered_once(several, pool)
    _an_activation_is_spent_once(several, pool)
    _a_refresh_has_one_successor(several, pool)
    _a_reset_is_spent_once(several, pool)
    _everybody_gets_one_mail(several, pool)
    _one_administrator_stays(several, pool)
    _five_guesses_are_counted_over_all_servers(several, pool)
    _start_and_purge_were_done_once(several)


@pytest.mark.parametrize("several", KINDS[2:], indirect=True)
def test_r05_r32_with_redis_mails_and_purges_happen_once_too(
    several: Machines, pool: ThreadPoolExecutor
) -> None:
    """What the queue has a part in; the rest is the database's alone."""
    _one_address_is_registered_once(several, pool)
    _everybody_gets_one_mail(several, pool)
    _start_and_purge_were_done_once(several)


def _start_and_purge_were_done_once(several: Machines) -> None:
    assert several.rows("SELECT count(*) FROM audit WHERE action = 'schema.migrated'") == [(1,)]
    assert several.rows("SELECT count(*) FROM keys") == [(5,)]
    purges = "SELECT count(*) FROM audit WHERE action = 'data.purged'"
    assert several.rows(purges)[0][0] in (1, 2), "of the start, and of the hour if one began meanwhile"


def _nothing_is_due(several: Machines) -> bool:
    return several.rows("SELECT 1 FROM outbox WHERE status = 'due'") == []


def _one_address_is_registered_once(several: Machines, pool: ThreadPoolExecutor) -> None:
    body = {"email": "ada@example.org", "password": PASSWORD}
    answers = pool.map(lambda number: several.insistent(number, "/users", body).status_code, range(AT_ONCE))
    assert set(answers) == {202}
    eventually(lambda: _nothing_is_due(several))
    assert several.rows("SELECT count(*) FROM users") == [(1,)]
    assert len(several.mails("activation")) == 1


def _spent_once(several: Machines, pool: ThreadPoolExecutor, path: str, body: dict[str, str]) -> None:
    codes = pool.map(lambda number: several.insistent(number, path, body).status_code, range(AT_ONCE))
    assert sorted(codes) == [200] + [422] * (AT_ONCE - 1)


def _an_activation_is_spent_once(several: Machines, pool: ThreadPoolExecutor) -> None:
    [mail] = several.mails("activation")
    _spent_once(several, pool, "/auth/activate", {"token": token_in_file(mail)})


def _a_refresh_has_one_successor(several: Machines, pool: ThreadPoolExecutor) -> None:
    login = several.insistent(1, "/auth/login", {"email": "ada@example.org", "password": PASSWORD}).json()
    body = {"refresh_token": login["data"]["refresh_token"]}
    answers = list(pool.map(lambda number: several.insistent(number, "/auth/refresh", body), range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"]["refresh_token"] for answer in answers}) == 1
    assert several.rows("SELECT seq FROM sessions") == [(2,)]


def _a_reset_is_spent_once(several: Machines, pool: ThreadPoolExecutor) -> None:
    several.insistent(1, "/auth/forgot-password", {"email": "ada@example.org"})
    [mail] = eventually(lambda: several.mails("password_reset"))
    body = {"reset_token": token_in_file(mail), "new_password": OTHER_PASSWORD}
    _spent_once(several, pool, "/auth/reset-password", body)
    assert several.rows("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(0,)]


def _everybody_gets_one_mail(several: Machines, pool: ThreadPoolExecutor) -> None:
    def register(number: int) -> int:
        body = {"email": f"u{number}@example.org", "password": PASSWORD}
        return several.insistent(number, "/users", body).status_code

    assert set(pool.map(register, range(60))) == {202}
    eventually(lambda: _nothing_is_due(several))
    to = several.recipients("activation")
    assert len(to) == 61
    assert set(to.values()) == {1}


def _one_administrator_stays(several: Machines, pool: ThreadPoolExecutor) -> None:
    names = ["root1@example.org", "root2@example.org", "root3@example.org"]
    for name in names:
        several.usersvc.run("create-admin", name, "--password-stdin", text=f"{PASSWORD}\n")
    tokens = [
        several.insistent(number, "/auth/login", {"email": name, "password": PASSWORD}).json()["data"][
            "access_token"
        ]
        for number, name in enumerate(names)
    ]
    ids = dict(several.rows("SELECT email, id FROM users WHERE role = 'admin'"))

    def deactivate(number: int) -> int:
        who, whom = number % 3, (number + 1 + number // 3 % 2) % 3
        path = f"/admin/users/{UUID(str(ids[names[whom]]))}/deactivate"
        return several.call("PATCH", path, token=tokens[who]).status_code

    codes = set(pool.map(deactivate, range(AT_ONCE)))
    assert codes <= {200, 401, 403, 409, 503}
    living = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'"
    assert several.rows(living) == [(1,)]


def _five_guesses_are_counted_over_all_servers(several: Machines, pool: ThreadPoolExecutor) -> None:
    several.usersvc.run("create-admin", "root@example.org", "--password-stdin", text=f"{PASSWORD}\n")

    def log_in(password: str) -> str:
        body = {"email": "root@example.org", "password": password}
        answer = several.call("POST", "/auth/login", body).json()
        return "in" if answer["success"] else str(answer["error"]["code"])

    found = Counter(pool.map(log_in, ["wrong password 123"] * 120))
    # An attempt that a busy server refuses is given back: what is left of the five is used up one by one.
    while (code := log_in("wrong password 123")) != "TOO_MANY_ATTEMPTS":
        found[code] += 1
    assert found["INVALID_CREDENTIALS"] == 5
    assert set(found) <= {"INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS", "OVERLOADED", "DATABASE_BUSY"}
    assert {log_in(PASSWORD) for _ in range(8)} == {"TOO_MANY_ATTEMPTS"}
