"""`export-user`, `delete-user`, `forget-user` and `erasures`; tests/services has the rules."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.database import dump
from tests.factories import EMAIL, PASSWORD, active, audit_rows, user_row
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys

# What a command does is the same on every database.
pytestmark = pytest.mark.sqlite

ROOT = "root@example.org"


@pytest.fixture
def core(run: Run, folder: Path) -> Iterator[Core]:
    run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    yield core
    core.close()


def test_an_account_from_its_export_to_the_list_of_the_erased(run: Run, core: Core) -> None:
    account = active(core, username="ada")
    exported = json.loads(run("export-user", EMAIL).stdout)
    assert exported["account"]["id"] == str(account.id)
    assert exported["complete"]

    question = run("delete-user", "ada", text="n\n", code=1)
    assert f"Log {EMAIL} out everywhere now, and delete the account in 14 days?" in question.stdout
    assert user_row(core).deletion_due_at is None
    due_at = run("delete-user", EMAIL, "--yes").stdout
    assert due_at.startswith(f"{EMAIL} is deleted from 20")
    assert run("delete-user", EMAIL, text="y\n").stdout.endswith(due_at)
    shown = json.loads(run("show-user", EMAIL, "--json").stdout)
    assert shown["deletion_due_at"][:10] in due_at
    assert run("delete-user", EMAIL, "--cancel").stdout == f"{EMAIL} stays.\n"
    assert run("delete-user", EMAIL, "--cancel").stdout == f"{EMAIL} stays: nobody meant to delete it.\n"
    assert json.loads(run("show-user", EMAIL, "--json").stdout)["deletion_due_at"] is None

    question = run("forget-user", EMAIL, text="n\n", code=1)
    assert f"Erase {EMAIL} for good? This cannot be undone." in question.stdout
    assert json.loads(run("erasures", "--json").stdout) == []
    assert str(account.id) in run("forget-user", str(account.id), "--yes").stdout
    [erased] = json.loads(run("erasures", "--json").stdout)
    assert set(erased) == {"id", "erased_at"}
    assert erased["id"] == str(account.id)
    assert str(account.id) in run("erasures").stdout
    [entry] = audit_rows(core, "user.erased")
    assert entry.actor_kind == "operator"


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("delete-user", ROOT, "--yes"), 6, "the last active administrator"),
        (("forget-user", ROOT, "--yes"), 6, "the last active administrator"),
        (("export-user", "nobody"), 5, "There is no user nobody."),
        (("delete-user", "nobody"), 5, "There is no user nobody."),
        (("forget-user", "nobody"), 5, "There is no user nobody."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    run: Run, core: Core, command: tuple[str, ...], code: int, told: str
) -> None:
    before = dump(core)
    result = run(*command, code=code)
    assert result.stdout == ""
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert dump(core) == before
