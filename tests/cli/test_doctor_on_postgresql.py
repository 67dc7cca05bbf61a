"""`doctor` where the database is PostgreSQL: a server that is away, refuses, or has another schema."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import database
from tests.cli.conftest import Run
from tests.databases import Databases
from tests.factories import EMAIL, PASSWORD
from tests.processes import free_port
from usersvc.core import Core
from usersvc.services import health

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database_values(postgresql_database: dict[str, object]) -> dict[str, object]:
    return postgresql_database


@pytest.fixture
def well(run: Run, folder: Path, inside: Core) -> Path:
    run("migrate")
    run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    health.beat(inside)
    return folder


def _rows(run: Run, *, code: int) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in json.loads(run("doctor", "--json", code=code).stdout)}


def _failed(run: Run) -> dict[str, str]:
    return {name: row["found"] for name, row in _rows(run, code=8).items() if row["state"] == "failed"}


def test_where_nothing_is_wrong_every_check_is_well(run: Run, well: Path) -> None:
    found = _rows(run, code=0)
    assert {name: row for name, row in found.items() if row["state"] != "ok"} == {}
    assert "answered in" in found["database"]["found"]


def test_r37_a_server_that_acknowledges_what_it_may_lose(
    run: Run, well: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = os.environ["USERSVC_DATABASE__URL"]
    monkeypatch.setenv("USERSVC_DATABASE__URL", f"{url}?options=-csynchronous_commit%3Doff")
    found = {name: row for name, row in _rows(run, code=0).items() if row["state"] != "ok"}
    assert set(found) == {"database"}
    assert found["database"]["state"] == "warning"
    assert "synchronous_commit off" in found["database"]["found"]


def test_a_server_that_is_away(run: Run, well: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_DATABASE__URL", f"postgresql://usersvc:hidden@127.0.0.1:{free_port()}/x")
    result = run("doctor", "--json", code=8)
    assert "hidden" not in result.output
    assert set(_failed(run)) == {"database", "queue"}, "which lies in it"


def test_a_database_that_the_server_does_not_have(
    run: Run, well: Path, prepared_postgresql: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_DATABASE__URL", prepared_postgresql.server.address("nowhere"))
    failed = _failed(run)
    assert failed.pop("database") == "There is no such database on the server."
    assert set(failed) == {"queue"}, "which lies in it"


def test_an_older_schema(run: Run, well: Path, inside: Core) -> None:
    database.run(inside, "UPDATE alembic_version SET version_num = '0000'")
    assert _failed(run) == {"schema": "older than this usersvc"}


def test_another_secret_key(run: Run, well: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_SERVER__SECRET_KEY", "0Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0=")
    assert set(_failed(run)) == {"keys"}


def test_a_table_that_another_transaction_holds(run: Run, well: Path, inside: Core) -> None:
    with database.locked(inside):
        assert _failed(run) == {"writing": "locked by another program"}
