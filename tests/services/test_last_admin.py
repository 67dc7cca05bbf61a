"""One active administrator is always left, whoever shuts out or demotes whom, and at once."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import Make, settings_for
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    active,
    an_admin,
    invited,
    signed_in,
    together,
    user_row,
)
from tests.processes import Usersvc
from usersvc.core import Core, build
from usersvc.errors import DatabaseBusy, DomainError, Forbidden, LastAdmin, NotActive, SessionEnded
from usersvc.services import admin, invitations, keys
from usersvc.services.actor import PERMISSIONS, Actor

ROOT = "root@example.org"
NAMES = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"]


def _demote(core: Core, email: str, actor: Actor = OPERATOR) -> object:
    return admin.set_role(core, user_id=user_row(core, email).id, role="user", actor=actor)


def _moderate(core: Core, email: str, actor: Actor = OPERATOR) -> object:
    return admin.set_role(core, user_id=user_row(core, email).id, role="moderator", actor=actor)


def _deactivate(core: Core, email: str, actor: Actor = OPERATOR) -> object:
    return admin.deactivate(core, user_id=user_row(core, email).id, actor=actor)


WAYS = [_demote, _moderate, _deactivate]
Way = Callable[..., object]


def _active_admins(core: Core) -> int:
    with core.read() as tx:
        found = tx.connection.exec_driver_sql(
            "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'"
        )
        return int(found.scalar_one())


def _all_back(core: Core) -> None:
    """As they were before a round; through the services that would take a login for each."""
    with core.write(wait=30) as tx:
        run = tx.connection.exec_driver_sql
        run("UPDATE users SET role = 'admin', status = 'active', deactivated_at = NULL")
        run("UPDATE sessions SET ended_at = NULL, end_reason = NULL")


@pytest.mark.parametrize("way", WAYS)
def test_the_last_active_administrator_stays_even_for_the_operator(core: Core, way: Way) -> None:
    an_admin(core)
    before = user_row(core, ROOT)
    with pytest.raises(LastAdmin):
        way(core, ROOT)
    assert user_row(core, ROOT) == before


@pytest.mark.parametrize("way", WAYS)
def test_administrators_who_cannot_log_in_do_not_count(core: Core, way: Way) -> None:
    an_admin(core)
    invited(core, "invited@example.org", role="admin")
    an_admin(core, "gone@example.org")
    admin.deactivate(core, user_id=user_row(core, "gone@example.org").id, actor=OPERATOR)
    with pytest.raises(LastAdmin):
        way(core, ROOT)
    # They themselves are nobody's last hope.
    way(core, "invited@example.org")
    _demote(core, "gone@example.org")
    assert _active_admins(core) == 1


@pytest.mark.parametrize("way", WAYS)
def test_once_there_is_another_one_the_first_may_go(core: Core, way: Way) -> None:
    an_admin(core)
    an_admin(core, EMAIL, OTHER_PASSWORD)
    way(core, ROOT, signed_in(core, password=OTHER_PASSWORD))
    assert _active_admins(core) == 1
    with pytest.raises(LastAdmin):
        way(core, EMAIL)


def test_giving_the_last_one_the_role_he_has_is_no_demotion(core: Core) -> None:
    account = an_admin(core)
    assert admin.set_role(core, user_id=account.id, role="admin", actor=OPERATOR) == account


@pytest.mark.parametrize("way", WAYS)
def test_whoever_else_may_act_on_administrators_meets_the_same_rule(
    core: Core, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setitem(PERMISSIONS, "moderator", PERMISSIONS["admin"])
    an_admin(core)
    account = active(core)
    admin.set_role(core, user_id=account.id, role="moderator", actor=OPERATOR)
    with pytest.raises(LastAdmin):
        way(core, ROOT, signed_in(core))


# -- at once


@pytest.fixture
def admins(core: Core) -> dict[str, Actor]:
    for email in NAMES:
        an_admin(core, email)
    return {email: signed_in(core, email) for email in NAMES}


def _round(cores: list[Core], admins: dict[str, Actor]) -> list[object]:
    """Everybody against everybody, and the operator against all."""
    pairs = [(victim, actor) for name, actor in admins.items() for victim in NAMES if victim != name]
    pairs += [(victim, OPERATOR) for victim in NAMES]
    random.shuffle(pairs)
    jobs = [partial(random.choice(WAYS), random.choice(cores), *pair) for pair in pairs]
    return together(*jobs)


@pytest.mark.process  # not that fast: many rounds
def test_a53_threads_of_two_processes_shut_each_other_out(make_core: Make, admins: dict[str, Actor]) -> None:
    """Two cores on one file are what two processes are."""
    cores = [make_core(), make_core()]
    refused = 0
    for _ in range(30):
        answers = _round(cores, admins)
        assert _active_admins(cores[0]) == 1, answers
        errors = [answer for answer in answers if isinstance(answer, DomainError)]
        assert {type(error) for error in errors} <= {
            LastAdmin,
            NotActive,
            Forbidden,
            SessionEnded,
            DatabaseBusy,
        }
        refused += any(isinstance(error, LastAdmin) for error in errors)
        _all_back(cores[0])
    assert refused > 5, "the rule was hardly ever what decided"


@pytest.mark.process  # not that fast: many rounds
def test_a53_two_at_once_of_whom_each_would_leave_none(make_core: Make) -> None:
    cores = [make_core(), make_core()]
    for email in NAMES[:2]:
        an_admin(cores[0], email)
    for _ in range(40):
        first, second = random.choice(WAYS), random.choice(WAYS)
        answers = together(partial(first, cores[0], NAMES[0]), partial(second, cores[1], NAMES[1]))
        assert sum(isinstance(answer, LastAdmin) for answer in answers) == 1
        assert _active_admins(cores[0]) == 1
        _all_back(cores[0])


@pytest.mark.process  # not that fast: many rounds
def test_a53_while_one_goes_another_one_comes(make_core: Make) -> None:
    """Whoever is being let in counts once he is in, not before."""
    cores = [make_core(), make_core()]
    an_admin(cores[0])
    invitations.invite(cores[0], email=EMAIL, role="admin", actor=OPERATOR)
    for _ in range(20):
        let_in = partial(admin.activate, cores[1], user_id=user_row(cores[1]).id, actor=OPERATOR)
        answers = together(partial(_deactivate, cores[0], ROOT), let_in)
        assert _active_admins(cores[0]) == (2 if isinstance(answers[0], LastAdmin) else 1)
        _all_back(cores[0])
        _deactivate(cores[0], EMAIL)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[list[Usersvc], Core]]:
    """Two servers in one folder, and the core of an operator beside them."""
    servers = [Usersvc(tmp_path), Usersvc(tmp_path)]
    for usersvc in servers:
        # Tokens of one are good for the other.
        usersvc.environ["USERSVC_SERVER__PUBLIC_URL"] = "https://users.example.org"
    for email in NAMES:
        servers[0].run("create-admin", email, "--password-stdin", text=f"{PASSWORD}\n")
    with ExitStack() as stack:
        for usersvc in servers:
            stack.enter_context(usersvc.serving("--no-worker"))
        core = stack.enter_context(closing(build(settings_for(tmp_path / "data"))))
        keys.open_ring(core)
        yield servers, core


def _over_http(usersvc: Usersvc, token: str, way: str, victim_id: Any) -> str:
    path, body = ("deactivate", None) if way == "deactivate" else ("role", {"role": way})
    response = httpx2.patch(
        f"{usersvc.api}/admin/users/{victim_id}/{path}",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=90,
    )
    return str((response.json()["error"] or {"code": "OK"})["code"])


@pytest.mark.process
def test_a53_processes_shut_each_other_out(served: tuple[list[Usersvc], Core]) -> None:
    servers, core = served
    ids = {email: user_row(core, email).id for email in NAMES}
    tokens = {}
    for email in NAMES:
        body = {"email": email, "password": PASSWORD}
        tokens[email] = servers[0].post("/auth/login", body).json()["data"]["access_token"]
    seen: set[str] = set()
    with ThreadPoolExecutor(len(NAMES)) as threads:
        for number in range(25):
            over_http = [
                threads.submit(
                    _over_http,
                    servers[(number + place) % 2],
                    tokens[email],
                    random.choice(["deactivate", "user", "moderator"]),
                    ids[NAMES[(place + 1 + number % 3) % len(NAMES)]],
                )
                for place, email in enumerate(NAMES)
            ]
            by_the_operator = together(*(partial(random.choice(WAYS), core, email) for email in NAMES))
            seen |= {answer.result() for answer in over_http}
            seen |= {answer.code for answer in by_the_operator if isinstance(answer, DomainError)}
            assert _active_admins(core) == 1
            _all_back(core)
    assert "LAST_ADMIN" in seen
    assert seen <= {"OK", "LAST_ADMIN", "NOT_ACTIVE", "FORBIDDEN", "SESSION_ENDED", "DATABASE_BUSY"}


@pytest.mark.process
def test_a53_operators_shut_everybody_out_at_once(tmp_path: Path, data_dir: Path) -> None:
    usersvc = Usersvc(tmp_path)
    with closing(build(settings_for(data_dir))) as core:
        keys.open_ring(core)
        for email in NAMES:
            an_admin(core, email)
    commands = [["deactivate", NAMES[0]], ["deactivate", NAMES[1]]]
    commands += [["set-role", NAMES[2], "user"], ["set-role", NAMES[3], "moderator"]]
    for _ in range(2):
        with ThreadPoolExecutor(len(commands)) as threads:
            ended = list(threads.map(lambda command: usersvc.run(*command, check=None), commands))
        assert sorted(process.returncode for process in ended) == [0, 0, 0, 6]
        [refused] = [process for process in ended if process.returncode]
        assert "last active administrator" in refused.stderr
        with closing(sqlite3.connect(usersvc.database)) as connection, connection:
            left = connection.execute("SELECT email FROM users WHERE role = 'admin' AND status = 'active'")
            assert len(left.fetchall()) == 1
            connection.execute("UPDATE users SET role = 'admin', status = 'active', deactivated_at = NULL")
