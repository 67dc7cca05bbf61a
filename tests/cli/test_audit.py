"""`audit`: listed, filtered, followed."""

import json
import signal
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import event, insert
from sqlalchemy.pool import Pool

from tests import database
from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD, STRANGER
from tests.processes import Usersvc
from usersvc import configuration
from usersvc.cli.opening import operator
from usersvc.core import Core, build
from usersvc.db.models import audit
from usersvc.errors import InvalidCredentials
from usersvc.mail.transports import MemoryTransport
from usersvc.security.secrets import new_id
from usersvc.services import accounts, keys, login, passwords

FIRST = ["schema.migrated", "secret.set", *["key.created"] * 5]
ALL = [*FIRST, "user.created", "user.login_failed", "password.forgotten", "password.forgotten"]


@pytest.fixture
def ada(run: Run, folder: Path) -> str:
    """Her id. She was made an administrator; somebody failed to log in; two asked for reset links."""
    run("create-admin", EMAIL, "--username", "ada", "--password-stdin", text=f"{PASSWORD}\n")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    account = accounts.find(core, name=EMAIL, actor=operator())
    with pytest.raises(InvalidCredentials):
        login.log_in(core, email=EMAIL, password="wrong", actor=STRANGER)
    for _ in range(2):
        passwords.forgot(core, email="nobody@example.org", actor=STRANGER)
    core.close()
    return str(account.id)


def actions(run: Run, *arguments: str) -> list[str]:
    """The oldest first."""
    return [entry["action"] for entry in json.loads(run("audit", "--json", *arguments).stdout)][::-1]


def test_a_person_reads_who_did_what_to_whom(run: Run, ada: str, address: str) -> None:
    result = run("audit", "--action", "user.")
    assert [line.split()[2:] for line in result.stdout.splitlines()[1:]] == [
        ["anonymous", "user.login_failed", EMAIL, "INVALID_CREDENTIALS", "192.0.2.1"],
        ["operator", *(operator().name or "").split(), "user.created", EMAIL, "ok"],
    ]
    assert result.stdout.split()[:6] == ["at", "actor", "action", "target", "outcome", "ip"]
    assert result.stderr == f"Database: {address}\n"


def test_json_is_one_array_with_what_the_api_has(run: Run, ada: str) -> None:
    found = json.loads(run("audit", "--json").stdout)
    assert [entry["action"] for entry in found] == ALL[::-1]
    failed = found[2]
    assert failed.pop("id") < found[0]["id"]
    assert failed.pop("at").endswith("Z")
    assert failed == {
        "actor_kind": "anonymous",
        "actor_id": None,
        "actor_name": None,
        "action": "user.login_failed",
        "target_id": ada,
        "ip": "192.0.2.1",
        "outcome": "INVALID_CREDENTIALS",
        "request_id": None,
        "detail": {},
    }


def test_the_limit_counts_from_the_newest_and_tells_that_there_is_more(run: Run, ada: str) -> None:
    result = run("audit", "--limit", "3")
    assert len(result.stdout.splitlines()) == 4
    assert result.stderr.endswith("There are older ones: take --all, or another --limit.\n")
    assert actions(run, "--limit", "3") == ALL[-3:]
    assert actions(run, "--limit", str(len(ALL))) == actions(run, "--all") == ALL
    assert "older" not in run("audit", "--limit", str(len(ALL))).stderr


def test_more_than_a_page_is_read_page_by_page(run: Run, ada: str, inside: Core) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    entry = {"at": long_ago, "actor_kind": "job", "action": "test.old", "outcome": "ok", "detail": {}}
    with inside.write() as tx:
        tx.connection.execute(insert(audit), [{"id": new_id(long_ago), **entry} for _ in range(420)])
    assert len(actions(run)) == 50
    assert actions(run, "--limit", "250") == ["test.old"] * (250 - len(ALL)) + ALL
    assert actions(run, "--all") == ["test.old"] * 420 + ALL
    assert len(run("audit", "--all").stdout.splitlines()) == 420 + len(ALL) + 1


@pytest.mark.parametrize("name", ["ada", "ADA", "Ada@Example.org", "{id}"])
def test_users_are_named_as_everywhere(run: Run, ada: str, name: str) -> None:
    name = name.format(id=ada)
    assert actions(run, "--target", name) == ["user.created", "user.login_failed"]
    assert actions(run, "--actor", name) == []


def test_a69_who_is_gone_is_found_and_shown_by_id(run: Run, ada: str, inside: Core) -> None:
    database.run(inside, "DELETE FROM users")
    assert actions(run, "--target", ada) == ["user.created", "user.login_failed"]
    assert ada in run("audit", "--target", ada).stdout


def test_kinds_of_actors_and_times_are_filters_too(run: Run, ada: str) -> None:
    assert actions(run, "--actor", "operator") == ["schema.migrated", "user.created"]
    assert actions(run, "--actor", "job") == FIRST[1:]
    assert actions(run, "--actor", "anonymous") == ALL[-3:]
    for since in ("90s", "5m", "2h", "3d", "2026-01-01", "2026-01-01T00:00", "2026-01-01T00:00+02:00"):
        assert actions(run, "--since", since) == ALL
        assert actions(run, "--until", since) == []
    assert actions(run, "--since", "9999-01-01") == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "nobody"], 5, "There is no user nobody."),
        (["--actor", "x@example.org"], 5, "There is no user x@example.org."),
        (["--target", ""], 5, "There is no user"),
        (["--action", "user"], 2, "--action"),
        (["--action", ""], 2, "--action"),
        (["--action", "user.login_failt"], 2, "user.login_failed"),
        (["--action", "persons."], 2, "is no action"),
        (["--limit", "2", "--all"], 2, "--limit and --all contradict each other"),
        (["--since", "1h", "--until", "2h"], 2, "--since is later than --until"),
        (["--since", "2026-11-23", "--until", "2026-11-22"], 2, "--since is later than --until"),
        *(
            (["--since", time], 2, "--since")
            for time in ("", "2", "2x", "-2h", "2.5h", "2026-13-01", "now", "٣d")
        ),
        (["--until", "tomorrow"], 2, "--until"),
        (["--limit", "0"], 2, "--limit"),
        (["--follow", "--until", "1h"], 2, "--follow has no end"),
        (["--follow", "--limit", "3"], 2, "--follow has no end"),
        (["--follow", "--all"], 2, "--follow has no end"),
    ],
    ids=str,
)
def test_a_bad_filter_is_named(run: Run, ada: str, arguments: list[str], code: int, said: str) -> None:
    result = run("audit", *arguments, code=code)
    assert said in result.stderr
    assert result.stdout == ""


def test_there_is_nothing_to_read_without_a_database(run: Run) -> None:
    assert "run `usersvc migrate`" in run("audit", code=8).stderr


@pytest.mark.parametrize("which", [1, 2])
def test_ctrl_c_lets_the_look_in_hand_be_finished(
    run: Run, ada: str, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it comes as a connection is given back: SQLAlchemy would log what interrupts it there."""
    before = signal.getsignal(signal.SIGINT)
    resets = count(1)

    def interrupt(*_: object) -> None:
        if signal.getsignal(signal.SIGINT) != before and next(resets) == which:
            signal.raise_signal(signal.SIGINT)

    event.listen(Pool, "reset", interrupt)
    try:
        shown = run("audit", "--follow", "--json", "--since", "1h", "--target", ada).stdout.splitlines()
    finally:
        event.remove(Pool, "reset", interrupt)
    assert [json.loads(line)["action"] for line in shown] == ["user.created", "user.login_failed"]
    assert next(resets) > which
    assert signal.getsignal(signal.SIGINT) == before
    assert caplog.records == []


@pytest.mark.process
def test_following_prints_each_new_entry_once_until_ctrl_c(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("create-admin", "root@example.org", "--password-stdin", text=f"{PASSWORD}\n")
    with (
        usersvc.running("audit", "--follow", "--json", "--since", "1h", "--action", "user.") as as_json,
        usersvc.running("audit", "-f") as as_lines,
    ):
        as_json.wait_until(lambda: "user.created" in as_json.output, "it began")
        as_lines.wait_until(lambda: "outcome" in as_lines.output, "it began")
        # The heading is printed before the first look: what comes in between is of before.
        numbers = count()
        as_lines.wait_until(lambda: _invite(usersvc, next(numbers)) in as_lines.output, "it looks")
        usersvc.run("invite-user", EMAIL)
        usersvc.run("set-role", EMAIL, "moderator")
        usersvc.run("reset-password", EMAIL)
        usersvc.run("deactivate", EMAIL)
        for following in (as_json, as_lines):
            following.wait_until(lambda f=following: "user.deactivated" in f.output, "the last one")
            assert following.stop(signal.SIGINT) == 0
    rest = ["user.role_changed", "user.deactivated"]
    database, *lines = as_json.output.splitlines()
    assert database == f"Database: {usersvc.database}"
    shown = [json.loads(line)["action"] for line in lines]
    assert shown == ["user.created", *["user.invited"] * (len(shown) - 3), *rest]
    table = [line.split() for line in as_lines.output.splitlines() if f" {EMAIL} " in line]
    assert [cells[-3] for cells in table] == ["user.invited", rest[0], "password.reset_mailed", rest[1]]
    assert "Traceback" not in as_json.output + as_lines.output


def _invite(usersvc: Usersvc, number: int) -> str:
    usersvc.run("invite-user", f"u{number}@example.org")
    return "user.invited"
