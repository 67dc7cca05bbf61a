"""kill -9 at a statement of a migration: it leaves what was there before, and the next start finishes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect

from tests.conftest import settings_for
from tests.factories import EMAIL, PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc
from usersvc.core import Core, build
from usersvc.db import models
from usersvc.db.migrate import alembic_config
from usersvc.db.schema import Schema
from usersvc.services import schema

pytestmark = pytest.mark.process

# As `usersvc migrate`, up to the statement that begins with the argument, or to the COMMIT.
_DIES = """
import os, signal, sys
from sqlalchemy import Engine, event
from usersvc.cli.app import main

begin = sys.argv.pop()
migrates = False

@event.listens_for(Engine, "before_cursor_execute")
def statement(connection, cursor, statement, *_):
    global migrates
    migrates = migrates or "alembic_version" in statement and not statement.startswith("SELECT")
    if statement.strip().startswith(begin):
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def commit(connection):
    if migrates and begin == "COMMIT":
        os.kill(os.getpid(), signal.SIGKILL)

main()
"""


@pytest.fixture
def folder(tmp_path: Path, database_values: dict[str, object]) -> Usersvc:
    """With a database in which nothing is yet."""
    found = Usersvc(tmp_path)
    found.environ |= {f"USERSVC_{name.upper()}": str(value) for name, value in database_values.items()}
    return found


def _is_killed(usersvc: Usersvc, *, at: str) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _DIES, "migrate", at],
        cwd=usersvc.folder,
        env=usersvc.environ,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


@contextmanager
def _looking(usersvc: Usersvc, values: dict[str, object]) -> Iterator[Core]:
    core = build(settings_for(usersvc.folder / "data", **values))
    try:
        yield core
    finally:
        core.close()


def _content(core: Core) -> dict[str, list[tuple[object, ...]]]:
    """Tables, columns and rows, whichever they are."""
    with core.read() as tx:
        columns = {
            name: sorted(column["name"] for column in inspect(tx.connection).get_columns(name))
            for name in inspect(tx.connection).get_table_names()
        }
        rows = {
            name: sorted(tx.connection.exec_driver_sql(f"SELECT * FROM {name}").all(), key=str)
            for name in columns
        }
    return {name: [tuple(columns[name]), *map(tuple, rows[name])] for name in columns}


def test_r23_a_migration_that_is_killed_leaves_nothing_and_the_next_start_finishes(
    folder: Usersvc, database_values: dict[str, object]
) -> None:
    for step in ("CREATE TABLE outbox", "INSERT INTO audit", "COMMIT"):
        _is_killed(folder, at=step)
        with _looking(folder, database_values) as core:
            assert _content(core) == {}
    folder.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)

    with _looking(folder, database_values) as core:
        with core.write() as tx:
            command.downgrade(alembic_config(tx.connection), "0001")
        before = _content(core)
    for step in ("UPDATE alembic_version", "COMMIT"):
        _is_killed(folder, at=step)
        with _looking(folder, database_values) as core:
            assert schema.look(core) is Schema.OUTDATED
            assert _content(core) == before
    folder.run("migrate")
    with _looking(folder, database_values) as core:
        assert schema.look(core) is Schema.CURRENT
        after = _content(core)
    assert set(after) == {"alembic_version", *models.metadata.tables}
    assert len(after["users"]) == 2
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"alembic_version", "audit", "link_tokens", "outbox", "users"}
    assert len(after["audit"]) == len(before["audit"]) + 1
