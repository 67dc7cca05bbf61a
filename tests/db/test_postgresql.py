"""PostgreSQL: what a reader sees, how long anything waits, who is told to come again, what indexes serve."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from tests.conftest import Make, postgresql_values, settings_for
from tests.database import elsewhere, run
from tests.databases import Databases
from tests.factories import EMAIL, OPERATOR, STRANGER, active, an_admin, delivered, logged_in
from tests.processes import eventually
from tests.servers import PostgreSQL, hanging, postgresql
from usersvc.clock import MovedClock
from usersvc.core import Core, build, retried
from usersvc.db.bounds import Bounds
from usersvc.db.postgresql import IDLE_SECONDS, PostgreSqlDatabase
from usersvc.errors import DatabaseBusy, DatabaseUnavailable
from usersvc.mail.transports import MemoryTransport
from usersvc.repositories import audit as audit_entries
from usersvc.repositories.sessions import BEARER
from usersvc.services import (
    audit,
    authentication,
    directory,
    keys,
    maintenance,
    migration,
    passwords,
    schema,
)

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database_values(postgresql_database: dict[str, object]) -> dict[str, object]:
    return postgresql_database


def _put_job(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO jobs (name, counts) VALUES (:name, '{}')"), {"name": name})


def _job_names(core: Core) -> set[str]:
    with core.read() as tx:
        return set(tx.connection.execute(text("SELECT name FROM jobs")).scalars())


# -- what a transaction is


def test_a_reader_sees_one_snapshot(core: Core) -> None:
    with core.read() as tx:
        before = tx.connection.execute(text("SELECT count(*) FROM jobs")).scalar()
        with elsewhere(core) as other:
            _put_job(other, "in between")
        assert tx.connection.execute(text("SELECT count(*) FROM jobs")).scalar() == before
    assert "in between" in _job_names(core)


def test_a_reader_cannot_write(core: Core) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"), core.read() as tx:
        _put_job(tx.connection, "x")
    assert "x" not in _job_names(core)


def test_ids_times_and_keys_are_kept_in_the_types_of_the_database(core: Core) -> None:
    query = text(
        "SELECT column_name, data_type, collation_name FROM information_schema.columns "
        "WHERE table_name = 'users' AND column_name IN ('id', 'created_at', 'email_key')"
    )
    with core.read() as tx:
        found = {tuple(row) for row in tx.connection.execute(query)}
    assert found == {
        ("id", "uuid", None),
        ("created_at", "timestamp with time zone", None),
        ("email_key", "character varying", "C"),
    }


# -- bounds


def _of_session(core: Core, name: str) -> str:
    with core.read() as tx:
        return str(tx.connection.execute(text(f"SHOW {name}")).scalar())


def test_every_wait_has_the_bound_of_the_settings(core: Core, make_core: Make) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [_of_session(core, name) for name in names] == ["5s", "3s", "15s"]
    other = make_core(
        database__statement_seconds=7, database__lock_seconds=2, database__idle_in_transaction_seconds=9
    )
    assert [_of_session(other, name) for name in names] == ["7s", "2s", "9s"]


def test_a_statement_that_takes_too_long_is_told_to_come_again(make_core: Make) -> None:
    core = make_core(database__statement_seconds=1)
    with pytest.raises(DatabaseBusy), core.write() as tx:
        tx.connection.execute(text("SELECT pg_sleep(30)"))
    assert _job_names(core) is not None


def test_a_purge_may_take_longer_than_a_request(make_core: Make, clock: MovedClock) -> None:
    core = make_core(database__statement_seconds=1)
    active(core)
    clock.move(days=2)
    slow = "BEGIN PERFORM pg_sleep(2); RETURN NULL; END"
    run(core, f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {slow} $$")
    run(core, "CREATE TRIGGER slow BEFORE DELETE ON link_tokens EXECUTE FUNCTION slow()")
    assert maintenance.purge(core, actor=OPERATOR)["links"] == 1


def test_a_row_that_another_one_holds_for_long_is_told_to_come_again(make_core: Make) -> None:
    core = make_core(database__lock_seconds=1)
    account = active(core)
    with elsewhere(core) as other:
        other.execute(text("SELECT 1 FROM users FOR UPDATE"))
        with pytest.raises(DatabaseBusy), core.write() as tx:
            tx.users.hold(account.id)


def test_r17_who_finds_no_free_connection_is_told_so_soon(make_core: Make) -> None:
    core = make_core(database__pool_size=1, database__pool_overflow=0, database__pool_seconds=1)
    with core.read(), pytest.raises(DatabaseBusy), core.read():
        pytest.fail("a connection too many")


# -- two in each other's way


def test_r18_of_two_that_wait_for_each_other_both_are_done_in_the_end(make_core: Make) -> None:
    core = make_core(database__lock_seconds=30)
    with core.write() as tx:
        for name in ("a", "b"):
            _put_job(tx.connection, name)
    both_hold_one = threading.Barrier(2, timeout=30)
    tries: list[str] = []

    @retried
    def count_up(first: str, second: str) -> None:
        tries.append(first)
        with core.write() as tx:
            for number, name in enumerate((first, second)):
                tx.connection.execute(text("UPDATE jobs SET last_slot = now() WHERE name = :n"), {"n": name})
                if number == 0 and len(tries) <= 2:
                    both_hold_one.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: count_up(*pair), [("a", "b"), ("b", "a")]))
    assert len(tries) == 3, "one of them was ended by the database, and done again"


def test_r18_who_is_in_the_way_four_times_is_told_to_come_again(core: Core) -> None:
    tries = []

    @retried
    def fail() -> None:
        tries.append(1)
        with core.write() as tx:
            tx.connection.execute(text("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$"))

    with pytest.raises(DatabaseBusy):
        fail()
    assert len(tries) == 4


# -- a server that goes away


@pytest.fixture
def own(tmp_path) -> Iterator[tuple[PostgreSQL, Core]]:
    """A server that the test may stop."""
    with postgresql() as server:
        values = postgresql_values(server, server.new_database())
        core = build(settings_for(tmp_path / "data", **values), transport=MemoryTransport())
        migration.prepare(core)
        keys.open_ring(core)
        yield server, core
        core.close()


def test_r16_away_is_told_at_once_and_the_first_one_after_that_gets_through(
    own: tuple[PostgreSQL, Core],
) -> None:
    server, core = own
    active(core)
    server.stop()
    with pytest.raises(DatabaseUnavailable):
        logged_in(core)
    server.start()
    assert logged_in(core).access_token


def test_r16_a_connection_that_is_ended_meanwhile_is_replaced(core: Core) -> None:
    active(core)
    token = logged_in(core).access_token
    authentication.authenticate(core, access_token=token, actor=STRANGER)
    with elsewhere(core) as other:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        other.execute(text(others + "WHERE datname = current_database() AND pid <> pg_backend_pid()"))
    time.sleep(IDLE_SECONDS)
    assert authentication.authenticate(core, access_token=token, actor=STRANGER)
    assert logged_in(core).access_token


def test_r16_who_finds_a_server_that_only_follows_asks_the_others(tmp_path) -> None:
    with postgresql() as first, postgresql() as second:
        name = first.new_database()
        assert second.new_database() == name
        url = f"postgresql://usersvc@/{name}?host=127.0.0.1,127.0.0.1&port={first.port},{second.port}"
        values = postgresql_values(first, name)
        values["database__url"] = f"{url}&target_session_attrs=read-write"
        core = build(settings_for(tmp_path / "data", **values), transport=MemoryTransport())
        migration.prepare(core)
        keys.open_ring(core)
        with core.write() as tx:
            _put_job(tx.connection, "before")
        first.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        first.execute("SELECT pg_reload_conf()")
        second.execute("CREATE TABLE jobs (name text, counts text)", database=name)
        names = map(str, count())
        eventually(lambda: _is_refused(core, next(names)))
        with core.write() as tx:
            _put_job(tx.connection, "after")
        assert second.execute("SELECT name FROM jobs", database=name) == [("after",)]
        core.close()


def _is_refused(core: Core, name: str) -> bool:
    try:
        with core.write() as tx:
            _put_job(tx.connection, name)
    except DatabaseUnavailable:
        return True
    return False


def test_r17_a_server_that_neither_answers_nor_goes_away_is_given_up(tmp_path) -> None:
    with postgresql() as server:
        values = postgresql_values(server, server.new_database())
        bounds = {"database__statement_seconds": 1, "database__connect_seconds": 2}
        core = build(settings_for(tmp_path / "data", **values, **bounds), transport=MemoryTransport())
        migration.prepare(core)
        keys.open_ring(core)
        active(core)
        with hanging(server):
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(DatabaseUnavailable):
                    logged_in(core)
                assert time.monotonic() - began < 8, "one answer and one connection were waited for"
        assert logged_in(core).access_token
        core.close()


def test_r28_a_server_that_is_just_being_started_is_waited_for(own: tuple[PostgreSQL, Core]) -> None:
    server, core = own
    server.stop()
    threading.Timer(1, server.start).start()
    assert schema.wait_for_server(core)
    assert not schema.wait_for_server(core, stopping=lambda: True)


def test_r28_what_waiting_cannot_help_is_told_at_once(prepared_postgresql: Databases, tmp_path) -> None:
    values = postgresql_values(prepared_postgresql.server, "nowhere")
    core = build(settings_for(tmp_path / "data", **values))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="no such database"):
        schema.wait_for_server(core)
    assert time.monotonic() - began < 30
    core.close()


def test_a_password_is_not_shown(tmp_path) -> None:
    url = "postgresql://usersvc:secret@127.0.0.1:1/users?sslmode=disable"
    values = {"database__url": url, "server__secret_key": "h3Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0="}
    core = build(settings_for(tmp_path / "data", **values, mail__transport="file"))
    assert "secret" not in core.database.address
    with pytest.raises(DatabaseUnavailable) as caught, core.read():
        pytest.fail("nobody listens there")
    assert "secret" not in f"{caught.value!r} {caught.value}"
    core.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://usersvc:secret@db/users", "postgresql://usersvc:***@db/users"),
        ("postgresql://usersvc@db/users?sslmode=require", "postgresql://usersvc@db/users?sslmode=require"),
        ("postgresql:///users?host=/run&password=secret", "postgresql:///users?host=%2Frun"),
        ("postgresql://db/users?sslpassword=secret&password=secret", "postgresql://db/users"),
    ],
)
def test_the_address_that_is_shown_holds_no_password(url: str, shown: str) -> None:
    assert PostgreSqlDatabase(url, Bounds()).address == shown


def test_the_short_way_throws_a_broken_connection_away_too(core: Core) -> None:
    account = active(core)
    with pytest.raises(DBAPIError) as caught, core.database._glancer.connect() as connection:
        connection.connection.driver_connection.close()
        BEARER.first(connection, {"session_id": account.id})
    assert caught.value.connection_invalidated
    with core.glance() as tx:
        assert tx.sessions.bearer(account.id) is None


# -- indexes


def _plans(core: Core, statements: list[tuple[str, dict[str, object]]]) -> Iterator[tuple[str, str]]:
    """Of each, as it would be planned over more rows than are here."""
    with core.write() as tx:
        tx.connection.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, values in statements:
            plan = tx.connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars()
            yield statement, "\n".join(map(str, plan))


def test_every_hot_query_is_served_by_an_index(core: Core) -> None:
    account = active(core)
    an_admin(core)
    ran: list[tuple[str, dict[str, object]]] = []

    def note(_c: object, _cursor: object, statement: str, values: dict[str, object], *_: object) -> None:
        if " WHERE " in statement and not statement.startswith("INSERT"):
            ran.append((statement, values))

    engines = (core.database._reader, core.database._writer)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    logged_in(core)
    with core.read() as tx:
        # Its own way to the driver makes no event.
        tx.connection.execute(BEARER.statement, {"session_id": account.id})
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    delivered(core)
    for sort in directory.SORTS:
        directory.list_users(core, sort=sort, q="ada", actor=OPERATOR)
    for filters in ({"target": account.id}, {"actor": account.id}, {"action": "user.logged_in"}):
        audit.list_entries(core, filters=audit_entries.Filters(**filters), actor=OPERATOR)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)

    scanned = {
        statement
        for statement, plan in _plans(core, ran)
        if "Seq Scan" in plan and not any(small in plan for small in ("on instance", "on keys", "on jobs"))
    }
    assert len(ran) > 10
    assert scanned == set()


# More than a batch, of accounts whose link is dead, whose link lives and who have none.
_MANY = 3000
_PEOPLE = f"""
INSERT INTO users (id, email, email_key, role, status, registered_at, created_at, updated_at)
SELECT gen_random_uuid(), n || '@example.org', n || '@example.org', 'user', 'pending', past, past, past
FROM generate_series(1, {_MANY}) AS n, (SELECT now() - interval '30 days' AS past) AS a_month_ago
"""
_LINKS = """
INSERT INTO link_tokens (id, user_id, purpose, key_id, nonce, digest, created_at, expires_at)
SELECT gen_random_uuid(), users.id, 'activation', kid, '', sha256(email::bytea), now(),
    now() + (length(email) % 2 - 0.5) * interval '1 day'
FROM users, keys WHERE use = 'link' AND email < '7'
"""


def _rows_met(node: dict[str, Any]) -> float:
    """All rows that a plan and what is below it looked at, as often as it did."""
    kept = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    met = sum(node.get(name, 0) for name in kept) * node["Actual Loops"]
    return float(met) + sum(_rows_met(below) for below in node.get("Plans", []))


def test_r31_a_purge_compares_no_table_with_another_row_by_row_where_nobody_counted_the_rows(
    core: Core,
) -> None:
    """Right after a crash, a restore or many registrations PostgreSQL has no statistics."""
    for table in ("users", "link_tokens"):
        run(core, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    for filling in (_PEOPLE, _LINKS):
        run(core, filling)
    met: dict[str, float] = {}

    def explain(_c: object, cursor: Any, statement: str, values: dict[str, object], *_: object) -> None:
        if statement.startswith(("DELETE", "SELECT")):
            cursor.execute("SAVEPOINT before")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            [[[plan]]] = cursor.fetchall()
            cursor.execute("ROLLBACK TO before")
            met[statement] = max(_rows_met(plan["Plan"]), met.get(statement, 0))

    for engine in (core.database._reader, core.database._writer):
        event.listen(engine, "before_cursor_execute", explain)
    counts = maintenance.purge(core, dry_run=True, actor=OPERATOR)
    assert maintenance.purge(core, actor=OPERATOR) == counts
    assert 0 < counts["links"] < counts["pending_accounts"] < _MANY
    assert len(met) > 10
    assert {statement: rows for statement, rows in met.items() if rows > 10 * _MANY} == {}
