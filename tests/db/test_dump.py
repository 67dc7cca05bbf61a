"""pg_dump as it is called: found, new enough, and told no secret where others can read it."""

import os
from pathlib import Path

import pytest

from tests.clients_of_postgresql import on_the_path, watched_pg_dump
from tests.conftest import Make
from tests.factories import EMAIL, OPERATOR, active
from usersvc.errors import DumpFailed
from usersvc.services import backups

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database_values(postgresql_database: dict[str, object]) -> dict[str, object]:
    return postgresql_database


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_path(request, monkeypatch)


def test_its_absence_and_its_age_are_told_with_the_remedy(
    make_core: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, empty = make_core(), tmp_path / "programs"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(DumpFailed, match="no pg_dump on the PATH"):
        backups.make(core, path=tmp_path / "users.backup", actor=OPERATOR)
    old = empty / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    with pytest.raises(DumpFailed, match=r"is of version 9, and the server of version \d\d"):
        backups.make(core, path=tmp_path / "users.backup", actor=OPERATOR)
    assert not list(tmp_path.glob("*.backup*"))


def test_its_command_line_holds_neither_address_nor_password_and_it_dumps_our_tables_alone(
    make_core: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_values: dict[str, object]
) -> None:
    address = str(database_values["database__url"]).replace("usersvc@", "usersvc:horse-battery@")
    core = make_core(database__url=f"{address}?connect_timeout=7")
    active(core)
    with core.write() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE letters (text text)")
        tx.connection.exec_driver_sql("INSERT INTO letters VALUES ('Dear Ada')")
    told = watched_pg_dump(tmp_path, monkeypatch)
    file = tmp_path / "users.backup"
    backups.make(core, path=file, actor=OPERATOR)
    said = told.read_text(encoding="utf-8")
    assert "--format=custom" in said
    for hidden in ("horse-battery", "127.0.0.1", EMAIL):
        assert hidden not in said
    assert backups.look_into(file).rows["users"] == 1
    assert b"letters" not in file.read_bytes()
    assert os.environ.get("PGPASSWORD") is None
