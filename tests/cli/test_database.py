"""`migrate` and `purge-tokens`, and what every command says of a database it cannot use."""

import json
import os
from pathlib import Path

import pytest

from tests import database
from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD
from usersvc.core import Core

NEEDS_A_DATABASE = [["purge-tokens"], ["purge-tokens", "--dry-run"], ["migrate", "--check"]]


@pytest.mark.sqlite
def test_migrate_makes_a_database_once(run: Run, folder: Path) -> None:
    assert run("migrate").stdout == "The schema is current now.\n"
    assert run("migrate").stdout == "The schema was current already.\n"
    assert run("migrate", "--check").stdout == "The schema is current.\n"
    assert (folder / "data" / "secret.key").exists()


@pytest.mark.parametrize("arguments", NEEDS_A_DATABASE)
def test_in_a_wrong_folder_a_command_refuses_and_makes_nothing(
    run: Run, folder: Path, address: str, arguments: list[str]
) -> None:
    result = run(*arguments, code=8)
    assert "run `usersvc migrate`" in result.stderr
    assert address in result.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("arguments", NEEDS_A_DATABASE)
def test_an_older_schema_is_refused_with_the_remedy(run: Run, arguments: list[str], inside: Core) -> None:
    run("migrate")
    database.run(inside, "UPDATE alembic_version SET version_num = '0000'")
    assert "run `usersvc migrate`" in run(*arguments, code=8).stderr


@pytest.mark.parametrize("arguments", [*NEEDS_A_DATABASE, ["migrate"], ["create-admin", EMAIL]])
def test_a_newer_schema_is_refused_by_all(run: Run, arguments: list[str], inside: Core) -> None:
    run("migrate")
    database.run(inside, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer usersvc" in run(*arguments, code=8).stderr


@pytest.mark.sqlite
@pytest.mark.parametrize("arguments", [*NEEDS_A_DATABASE, ["migrate"], ["create-admin", EMAIL]])
def test_r28_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    run: Run, folder: Path, arguments: list[str]
) -> None:
    run("migrate")
    path = folder / "data" / "usersvc.db"
    for other in folder.glob("data/usersvc.db-*"):
        other.unlink()
    path.write_bytes(b"this is a letter to my mother, not a database\n" * 200)
    before = path.read_bytes()
    result = run(*arguments, code=8)
    assert "not a database" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.sqlite
def test_a_missing_secret_key_stops_a_command_with_the_remedy(run: Run, folder: Path) -> None:
    run("migrate")
    (folder / "data" / "secret.key").unlink()
    result = run("create-admin", EMAIL, "--password-stdin", text=PASSWORD, code=78)
    assert "the secret key is missing" in result.stderr
    assert not (folder / "data" / "secret.key").exists()


def test_purge_tokens_shows_counts_as_a_table_and_as_json(run: Run) -> None:
    run("migrate")
    counts = json.loads(run("purge-tokens", "--json").stdout)
    assert set(counts) >= {"links", "sessions", "pending_accounts", "mails", "counters", "audit_entries"}
    table = run("purge-tokens", "--dry-run").stdout
    assert "would delete" in table
    assert "links" in table
    assert "\x1b" not in table


@pytest.mark.sqlite
def test_a_command_as_another_system_user_refuses_and_names_the_right_one(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root gives the folder away; anybody else meets one that is root's already."""
    if os.geteuid() == 0:
        run("migrate")
        os.chown(folder / "data", 65534, 65534)
        owner = "nobody"
    else:
        monkeypatch.setenv("USERSVC_SERVER__DATA_DIR", "/usr")
        owner = "root"
    result = run("migrate", code=4)
    assert f"belongs to {owner}" in result.stderr
    assert f"sudo -u {owner}" in result.stderr


def test_serving_without_a_worker_refuses_flags_that_a_worker_cannot_see(run: Run, folder: Path) -> None:
    result = run("serve", "--no-worker", "--port", "8765", code=78)
    assert "its links would begin with http://127.0.0.1:8000" in result.stderr
    assert list(folder.iterdir()) == []
