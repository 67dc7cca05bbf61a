"""Many accounts at once; tests/services/test_bulk.py has the rules."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from sqlalchemy import insert

from tests.cli.conftest import Run
from tests.factories import (
    EMAIL,
    PASSWORD,
    active,
    audit_rows,
    deactivated,
    invited,
    logged_in,
    outbox_rows,
    user_row,
)
from tests.groups import a_group, put_in
from tests.processes import PATIENCE_SECONDS, USERSVC, Usersvc, eventually
from usersvc import configuration
from usersvc.cli.stopping import STOPPED
from usersvc.core import Core, build
from usersvc.db.models import users
from usersvc.errors import DatabaseBusy
from usersvc.mail.transports import MemoryTransport
from usersvc.security.secrets import new_id
from usersvc.services import admin, bulk, directory, keys, sessions
from usersvc.services.actor import Actor
from usersvc.services.directory import Filters

pytestmark = pytest.mark.sqlite  # what is done is tested on both


@pytest.fixture
def core(folder: Path, prepared: Path):
    shutil.copytree(prepared, folder / "data")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    active(core)
    deactivated(core, "bob@example.org")
    invited(core, "ivy@example.org")
    yield core
    core.close()


def _status(core: Core) -> list[str]:
    return [user_row(core, f"{name}@example.org").status for name in ("ada", "bob", "ivy")]


def _summary(done: int = 0, unchanged: int = 0, skipped: int = 0, refused: int = 0) -> dict[str, Any]:
    return {"done": done, "unchanged": unchanged, "skipped": skipped, "refused": refused}


def _as_table(done: int, unchanged: int, skipped: int, refused: int) -> list[list[str]]:
    counts = _summary(done, unchanged, skipped, refused)
    return [["outcome", "accounts"], *([name, str(number)] for name, number in counts.items())]


def test_many_are_asked_for_with_their_number_and_summed_up(run: Run, core: Core) -> None:
    everybody = ["--after", "2020-01-01T00:00:00+02:00"]
    result = run("deactivate", *everybody, text="n\n", code=1)
    assert "Deactivate 2 accounts and mail 1 of them? [y/N]:" in result.stderr
    assert _status(core) == ["active", "deactivated", "invited"]
    result = run("deactivate", *everybody, text="y\n")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == _as_table(2, 1, 0, 0)
    assert _status(core) == ["deactivated"] * 3
    # Where there is nothing to do nothing is asked.
    result = run("deactivate", *everybody, "--json")
    assert json.loads(result.stdout) == _summary(unchanged=3) | {"refusals": []}
    result = run("activate", "--status", "deactivated", "--yes", "--json")
    assert json.loads(result.stdout) == _summary(done=3) | {"refusals": []}
    assert "[y/N]" not in result.stderr


def test_a_dry_run_lists_whom_it_would_change_and_changes_nobody(run: Run, core: Core) -> None:
    result = run("activate", "--before", "0s", "--dry-run")
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "email",
        "bob@example.org",
        "ivy@example.org",
    ]
    assert result.stderr.splitlines()[-1] == (
        "Would activate 2 accounts and mail 2 of them. 1 account is so already."
    )
    put_in(core, a_group(core), EMAIL)
    listed = json.loads(run("set-role", "moderator", "--group", "desk", "--dry-run", "--json").stdout)
    assert [account["email"] for account in listed] == [EMAIL]
    logged_in(core)
    result = run("revoke-sessions", "--role", "user", "--dry-run")
    assert result.stderr.splitlines()[-1] == (
        "Would end all sessions of 1 account. 2 accounts are so already."
    )
    assert _status(core) == ["active", "deactivated", "invited"]
    assert user_row(core).role == "user"
    assert len(sessions.list_of(core, user_id=user_row(core).id, actor=Actor.operator("x"))) == 1
    assert audit_rows(core, "session.revoked_all") == []


def test_who_was_refused_is_told_with_the_reason_and_by_the_exit_code(run: Run, core: Core) -> None:
    result = run("set-role", "admin", "--query", "b", "--yes", code=6)
    assert result.stdout.splitlines()[-1].split(maxsplit=2) == [
        "bob@example.org",
        "NOT_ACTIVE",
        "This account is deactivated: activate it first.",
    ]
    assert result.stderr.splitlines()[-1] == "Error: 1 of 1 account refused."
    result = run("set-role", "admin", "--role", "user", "--yes", "--json", code=6)
    told = json.loads(result.stdout)
    assert told.pop("refusals") == [
        {
            "id": str(user_row(core, "bob@example.org").id),
            "email": "bob@example.org",
            "code": "NOT_ACTIVE",
            "message": "This account is deactivated: activate it first.",
        }
    ]
    assert told == _summary(done=2, refused=1)
    assert [user_row(core, f"{name}@example.org").role for name in ("ada", "bob", "ivy")] == [
        "admin",
        "user",
        "admin",
    ]


def test_of_very_many_refused_the_first_are_listed_and_all_are_counted(
    run: Run, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usersvc.cli.bulk._MOST_SHOWN", 1)
    deactivated(core, "bea@example.org")
    result = run("set-role", "admin", "--status", "deactivated", "--yes", "--json", code=6)
    told = json.loads(result.stdout)
    assert (told["refused"], len(told["refusals"])) == (2, 1)
    assert "Those are the first 1 that were refused." not in result.stdout
    assert "Error: 2 of 2 accounts refused." in result.stderr
    table = run("set-role", "admin", "--status", "deactivated", "--yes", code=6)
    assert "Those are the first 1 that were refused." in table.stderr


def test_either_a_user_or_a_choice_and_never_everybody(run: Run, core: Core) -> None:
    for command in ("activate", "deactivate", "set-role", "revoke-sessions"):
        role = ["moderator"] if command == "set-role" else []
        for arguments, code, told in [
            ([*role, "--yes"], 2, "Name a USER, or say by options which accounts"),
            ([EMAIL, *role, "--status", "active", "--yes"], 2, "not both"),
            ([EMAIL, *role, "--dry-run"], 2, "--dry-run is for accounts that options choose"),
            ([*role, "--group", "", "--yes"], 5, "There is no group"),
        ]:
            assert told in run(command, *arguments, code=code).stderr.replace("\n", " ")
    assert _status(core) == ["active", "deactivated", "invited"]
    assert user_row(core).role == "user"


def test_of_one_account_json_tells_how_it_stands(run: Run, core: Core) -> None:
    for command, arguments, key, value in [
        ("set-role", ["moderator"], "role", "moderator"),
        ("deactivate", [], "status", "deactivated"),
        ("activate", [], "status", "active"),
    ]:
        account = json.loads(run(command, EMAIL, *arguments, "--json").stdout)
        assert (account["email"], account[key]) == (EMAIL, value)
    logged_in(core)
    ended = run("revoke-sessions", EMAIL, "--yes", "--json").stdout
    assert json.loads(ended) == {"email": EMAIL, "sessions_ended": 1}
    for arguments in ([], [EMAIL], [EMAIL, "root"], ["nobody", "--role", "user"]):
        run("set-role", *arguments, code=2)


def test_ctrl_c_lets_the_account_in_hand_be_finished_and_sums_up(
    run: Run, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    deactivate = admin.deactivate

    def interrupted(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return deactivate(*arguments, **more)

    monkeypatch.setattr(admin, "deactivate", interrupted)
    result = run("deactivate", "--role", "user", "--yes", "--json", code=STOPPED)
    assert json.loads(result.stdout) == _summary(done=1, unchanged=1) | {"refusals": []}
    assert result.stderr.splitlines()[-1] == "Stopped by Ctrl+C after 1 account of 2."
    assert _status(core) == ["deactivated", "deactivated", "invited"]


def test_what_was_done_before_the_database_was_busy_is_summed_up(
    run: Run, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = bulk.carry_out

    def cut_off(*arguments: Any, **more: Any) -> Iterator[bulk.Outcome]:
        yield next(carry_out(*arguments, **more))
        raise DatabaseBusy

    monkeypatch.setattr(bulk, "carry_out", cut_off)
    result = run("deactivate", "--role", "user", "--yes", "--json", code=8)
    assert json.loads(result.stdout)["done"] == 1
    assert "busy" in result.stderr.splitlines()[-1]


def _many_invited(core: Core, number: int) -> None:
    """As invitations leave them, made at once."""
    row = vars(user_row(core, "ivy@example.org"))
    with core.write() as tx:
        names = [f"u{index}@example.org" for index in range(number)]
        rows = [{**row, "id": new_id(tx.now), "email": name, "email_key": name} for name in names]
        tx.connection.execute(insert(users), rows)


@pytest.mark.process
def test_many_are_shut_out_beside_a_server_until_ctrl_c(core: Core, folder: Path) -> None:
    _many_invited(core, 3000)
    usersvc = Usersvc(folder)
    with usersvc.serving():
        tokens = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
        token = tokens["access_token"]
        assert usersvc.me(token).status_code == 200
        terminal = pexpect.spawn(
            USERSVC[0],
            [*USERSVC[1:], "deactivate", "--role", "user"],
            cwd=str(folder),
            env={**usersvc.environ, "TERM": "xterm-256color"},
            dimensions=(40, 120),
            encoding="utf-8",
            timeout=PATIENCE_SECONDS,
        )
        terminal.expect_exact("Deactivate 3,002 accounts and mail 1 of them? [y/N]:")
        terminal.sendline("y")
        terminal.expect_exact("Changing")
        eventually(lambda: usersvc.me(token).status_code == 401)
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        terminal.close()
        shown = terminal.before
        assert terminal.exitstatus == STOPPED, shown
    entries = audit_rows(core, "user.deactivated")[1:]
    assert 1 <= len(entries) < 3002
    assert f"Stopped by Ctrl+C after {len(entries):,} account" in shown
    assert re.search(rf"done +{len(entries):,} ", shown)
    deactivated_ones = Filters(status="deactivated")
    found = list(directory.each(core, filters=deactivated_ones, actor=Actor.operator("x")))
    assert len(found) == len(entries) + 1
    assert [mail.kind for mail in outbox_rows(core)].count("deactivated") == 1 + 1
    assert "\x1b[?25l" not in shown
