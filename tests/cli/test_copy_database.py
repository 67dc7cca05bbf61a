"""`copy-database` as an operator calls it."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.databases import Databases
from tests.factories import EMAIL, PASSWORD

pytestmark = pytest.mark.sqlite  # the database of the settings: FROM and TO are named

OLD, NEW = "sqlite:///data/usersvc.db", "sqlite:///new.db"
UNREACHABLE = "postgresql://usersvc:horse-battery@127.0.0.1:1/users?password=staple-42&sslpassword=moon-17"


@pytest.fixture
def filled(run: Run) -> Run:
    run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    return run


def _rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as file:
        return int(file.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_it_copies_compares_and_says_so(filled: Run, folder: Path) -> None:
    entries = _rows(folder / "data" / "usersvc.db", "audit")
    result = filled("copy-database", OLD, NEW, "--yes")
    assert re.search(rf"^audit +{entries} ", result.stdout, re.MULTILINE)
    assert "are there, the same in both databases; the secret key opens every key." in result.stdout
    assert f"From: {folder / 'data' / 'usersvc.db'}\nTo:   {folder / 'new.db'}\n" in result.stderr
    assert "must be stopped" in result.stderr
    assert (folder / "new.db").stat().st_mode & 0o777 == 0o600


def test_the_copy_is_used_like_any_other(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("copy-database", OLD, NEW, "--yes")
    monkeypatch.setenv("USERSVC_DATABASE__URL", NEW)
    assert EMAIL in filled("list-users").stdout
    assert "rows" in filled("audit", "--action", "database.copied", "--json").stdout


def test_json_has_every_table_with_its_digest(filled: Run, folder: Path) -> None:
    found = json.loads(filled("copy-database", OLD, NEW, "--yes", "--json").stdout)
    assert (found["from"], found["to"]) == (str(folder / "data" / "usersvc.db"), str(folder / "new.db"))
    tables = {table["name"]: table for table in found["tables"]}
    assert (tables["users"]["rows"], len(tables["users"]["digest"])) == (1, 64)
    assert found["rows"] == sum(table["rows"] for table in tables.values())
    assert found["copied_before"] == 0


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_who_does_not_say_yes_gets_nothing_made(filled: Run, folder: Path, answer: str) -> None:
    assert "rows? [y/N]" in filled("copy-database", OLD, NEW, text=answer, code=1).stderr
    assert not (folder / "new.db").exists()


def test_who_says_yes_gets_a_copy(filled: Run, folder: Path) -> None:
    filled("copy-database", OLD, NEW, text="y\n")
    assert _rows(folder / "new.db", "users") == 1


def test_a_target_that_is_not_empty_is_refused(filled: Run, folder: Path) -> None:
    filled("copy-database", OLD, NEW, "--yes")
    assert "in the table audit" in filled("copy-database", OLD, NEW, "--yes", code=6).stderr


def test_commands_refuse_an_unfinished_copy(
    filled: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled("copy-database", OLD, NEW, "--yes")
    with closing(sqlite3.connect(folder / "new.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = 'copy-0002-0123456789abcdef'")
        file.commit()
    monkeypatch.setenv("USERSVC_DATABASE__URL", NEW)
    for arguments in (["list-users"], ["migrate"], ["migrate", "--check"], ["create-admin", EMAIL]):
        assert "an unfinished copy" in filled(*arguments, code=8).stderr
    assert "unfinished copy" in filled("doctor", code=8).stdout


def test_no_password_is_shown(filled: Run) -> None:
    for arguments in ([OLD, UNREACHABLE], [UNREACHABLE, NEW]):
        shown = filled("copy-database", *arguments, "--yes", code=8).output
        assert "postgresql://usersvc:***@127.0.0.1:1/users" in shown
        for secret in ("horse-battery", "staple-42", "moon-17"):
            assert secret not in shown


@pytest.mark.parametrize("address", ["", "postgres://usersvc:horse-battery@db/users", "sqlite:///x?mode=ro"])
def test_what_is_no_address_is_wrong_usage_and_not_shown(run: Run, folder: Path, address: str) -> None:
    shown = run("copy-database", OLD, address, "--yes", code=2).output
    assert "expected" in shown
    assert "horse-battery" not in shown
    assert list(folder.iterdir()) == []


@pytest.mark.postgresql
def test_to_postgresql_and_back(filled: Run, folder: Path, prepared_postgresql: Databases) -> None:
    server = prepared_postgresql.server
    name = server.new_database()
    there = json.loads(filled("copy-database", OLD, server.address(name), "--yes", "--json").stdout)
    back = json.loads(filled("copy-database", server.address(name), NEW, "--yes", "--json").stdout)
    assert [table for table in back["tables"] if table["name"] != "audit"] == [
        table for table in there["tables"] if table["name"] != "audit"
    ]
    assert _rows(folder / "new.db", "audit") == _rows(folder / "data" / "usersvc.db", "audit") + 2
    server.drop_database(name)
