"""An instance that moves from SQLite to PostgreSQL, with the processes that an operator would use."""

import sqlite3
from contextlib import closing

import pytest

from tests.databases import Databases
from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc, eventually

pytestmark = [pytest.mark.process, pytest.mark.postgresql]

ROWS = 60_000


def _logged_in(usersvc: Usersvc) -> dict[str, str]:
    response = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert response.status_code == 200, response.text
    return dict(response.json()["data"])


def _use(usersvc: Usersvc, address: str) -> None:
    """The settings that docs/operations.md names."""
    usersvc.environ |= {
        "USERSVC_DATABASE__URL": address,
        "USERSVC_SERVER__SECRET_KEY_FILE": "data/secret.key",
        "USERSVC_MAIL__TRANSPORT": "file",
    }


def _many_entries(usersvc: Usersvc) -> None:
    with closing(sqlite3.connect(usersvc.database)) as file:
        file.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
            "INSERT INTO audit (id, at, actor_kind, action, outcome, detail) "
            "SELECT printf('%032x', n), '2026-01-01 00:00:00.000000', 'job', 'test.entry', 'ok', '{}' "
            "FROM numbers",
            [ROWS],
        )
        file.commit()


def test_users_log_in_and_refresh_after_the_move(usersvc: Usersvc, prepared_postgresql: Databases) -> None:
    """Also where the copy was killed in the middle."""
    server = prepared_postgresql.server
    name = server.new_database()
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    with usersvc.serving() as process:
        pair = _logged_in(usersvc)
        process.stop()
    _many_entries(usersvc)
    move = ["copy-database", "sqlite:///data/usersvc.db", server.address(name), "--yes"]

    with usersvc.running(*move) as process:
        process.wait_until(lambda: _entries(prepared_postgresql, name), "something is there")
        process.kill()
    assert 0 < _entries(prepared_postgresql, name) < ROWS
    before = dict(usersvc.environ)
    _use(usersvc, server.address(name))
    assert "an unfinished copy" in usersvc.run("serve", check=8).stderr
    usersvc.environ = before

    eventually(lambda: not _connections(prepared_postgresql, name))
    moved = usersvc.run(*move)
    assert "from a copy that was broken off" in moved.stderr
    assert "the same in both databases" in moved.stdout

    _use(usersvc, server.address(name))
    with usersvc.serving() as process:
        assert f"@127.0.0.1:{server.port}/{name}" in process.output
        assert usersvc.me(pair["access_token"]).json()["data"]["email"] == EMAIL
        refreshed = usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
        assert refreshed.status_code == 200, refreshed.text
        assert usersvc.me(refreshed.json()["data"]["access_token"]).status_code == 200
        assert _logged_in(usersvc)
        process.stop()
    server.drop_database(name)


def _entries(prepared: Databases, name: str) -> int:
    [(there,)] = prepared.server.execute("SELECT to_regclass('audit') IS NOT NULL", database=name)
    return prepared.server.execute("SELECT count(*) FROM audit", database=name)[0][0] if there else 0


def _connections(prepared: Databases, name: str) -> list[object]:
    return prepared.server.execute(f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'")
