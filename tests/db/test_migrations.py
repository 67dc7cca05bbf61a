"""The migrations: what they make, and what a database that is not as we want it is answered with."""

import importlib
import re
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from tests import outbox as mails
from tests.conftest import settings_for
from tests.database import dump
from tests.factories import active, logged_in
from usersvc.core import Core, Tx, build
from usersvc.db import models
from usersvc.db.migrate import alembic_config
from usersvc.db.schema import HEAD, Schema
from usersvc.errors import DatabaseUnavailable, NoDatabase, SchemaOutdated, SchemaTooNew
from usersvc.services import keys, migration, schema

COLUMNS = {
    "users": "id email email_key email_verified_at username username_key role status password_hash "
    "invited_at registered_at activated_at deactivated_at password_changed_at last_login_at created_at "
    "updated_at profile attributes locale deletion_due_at",
    "erasures": "user_id erased_at",
    "sessions": "id user_id seq rnd_digest rotated_at created_at last_used_at expires_at absolute_at "
    "ended_at end_reason ip user_agent",
    "link_tokens": "id user_id purpose key_id nonce digest created_at expires_at used_at revoked_at",
    "groups": "id name description created_at updated_at",
    "group_permissions": "group_id permission",
    "group_members": "group_id user_id manager added_at",
    "imports": "digest records line imported updated skipped refused started_at updated_at finished_at",
    "keys": "kid use algorithm public_jwk private_wrapped created_at signs_from retired_at compromised_at",
    "outbox": "id kind user_id address link_token_id data message_id status attempts next_attempt_at "
    "lease_until lease_owner last_error created_at give_up_at sent_at request_id",
    "webhooks": "id url events description secret_wrapped old_secret_wrapped old_secret_until created_at "
    "updated_at disabled_at",
    "webhook_deliveries": "id webhook_id event user_id data status attempts next_attempt_at lease_until "
    "lease_owner outcome created_at give_up_at sent_at request_id",
    "audit": "id at actor_kind actor_id actor_name action target_id ip outcome request_id detail",
    "services": "id name description permissions audiences may_end_sessions created_at updated_at "
    "deactivated_at last_used_at",
    "service_credentials": "id service_id digest hint created_at expires_at last_used_at revoked_at",
    "revoked_tokens": "id expires_at",
    "throttle": "kind key_digest window_started_at count level blocked_until expires_at",
    "logins_from": "user_id network_digest last_at",
    "jobs": "name last_slot finished_at counts",
    "instance": "id secret_check created_at",
}
# Columns, unique or not, and the condition of a partial index.
INDEXES = {
    "users": [
        ("email_key", True, None),
        ("username_key", True, "activated_at IS NOT NULL"),
        ("username_key", False, None),
        ("created_at id", False, None),
        ("status registered_at", False, None),
        ("id", False, "role = 'admin' AND status = 'active'"),
        ("deletion_due_at", False, "deletion_due_at IS NOT NULL"),
    ],
    "erasures": [("erased_at", False, None)],
    "sessions": [("user_id ended_at", False, None), ("expires_at", False, None)],
    "link_tokens": [
        ("digest", True, None),
        ("user_id purpose", True, "used_at IS NULL AND revoked_at IS NULL"),
    ],
    "groups": [("name", True, None)],
    "group_members": [("user_id group_id", False, None)],
    "keys": [("use", True, "retired_at IS NULL")],
    "outbox": [
        ("message_id", True, None),
        ("user_id address", False, None),
        ("next_attempt_at", False, "status = 'due'"),
    ],
    "webhook_deliveries": [
        ("next_attempt_at", False, "status = 'due'"),
        ("webhook_id", False, "status = 'due'"),
        ("webhook_id created_at", False, None),
        ("status created_at", False, None),
    ],
    "audit": [
        ("at id", False, None),
        ("target_id id", False, None),
        ("actor_id id", False, None),
        ("action id", False, None),
    ],
    "services": [("name", True, None)],
    "service_credentials": [("digest", True, None)],
    "revoked_tokens": [("expires_at", False, None)],
    "throttle": [("expires_at", False, None)],
}
PRIMARY = {
    "erasures": ["user_id"],
    "group_permissions": ["group_id", "permission"],
    "group_members": ["group_id", "user_id"],
    "imports": ["digest"],
    "keys": ["kid"],
    "throttle": ["kind", "key_digest"],
    "logins_from": ["user_id", "network_digest"],
    "jobs": ["name"],
}
FOREIGN = {
    ("sessions", "user_id", "users", "CASCADE"),
    ("link_tokens", "user_id", "users", "CASCADE"),
    ("link_tokens", "key_id", "keys", None),
    ("service_credentials", "service_id", "services", "CASCADE"),
    ("outbox", "user_id", "users", "CASCADE"),
    ("outbox", "link_token_id", "link_tokens", "SET NULL"),
    ("logins_from", "user_id", "users", "CASCADE"),
    ("group_permissions", "group_id", "groups", "CASCADE"),
    ("group_members", "group_id", "groups", "CASCADE"),
    ("group_members", "user_id", "users", "CASCADE"),
}


@pytest.fixture
def fresh(tmp_path: Path) -> Core:
    """A core whose data directory does not exist yet."""
    return build(settings_for(tmp_path / "data"))


def _tables(core: Core) -> set[str]:
    with core.read() as tx:
        return set(inspect(tx.connection).get_table_names())


def _rows(core: Core) -> dict[str, list[dict[str, object]]]:
    """In the order of their keys: PostgreSQL may put a new row where an old one stood."""
    with core.read() as tx:
        return {
            name: [
                dict(row._mapping)
                for row in tx.connection.execute(table.select().order_by(*table.primary_key.columns))
            ]
            for name, table in models.metadata.tables.items()
        }


def _set_revision(core: Core, revision: str) -> None:
    with core.write() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def _conditions(tx: Tx) -> dict[str, str | None]:
    made = "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
    if tx.connection.dialect.name == "postgresql":
        own = "schemaname = 'public' AND tablename <> 'alembic_version' AND indexname NOT LIKE 'pk_%'"
        made = f"SELECT indexname, indexdef FROM pg_indexes WHERE {own}"
    found = tx.connection.execute(text(made))
    return {name: _plain(sql.partition(" WHERE ")[2]) or None for name, sql in found if sql}


def _plain(condition: str) -> str:
    """Without the parentheses and casts that PostgreSQL puts in."""
    return re.sub(r"::[a-z]+( varying)?(\[\])?|[()]", "", condition)


def _literals(check: str) -> frozenset[str]:
    """What a CHECK lets in: PostgreSQL says IN in its own way."""
    return frozenset(re.findall(r"'[^']+'", check)) or frozenset({_plain(check)})


# -- what the migrations make


def test_the_migrations_make_what_the_models_say(core: Core) -> None:
    with core.read() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        assert compare_metadata(context, models.metadata) == []


def test_the_checks_of_the_migrations_are_those_of_the_models(core: Core) -> None:
    """Alembic compares no CHECKs."""
    with core.read() as tx:
        inspector = inspect(tx.connection)
        made = {
            (table, found["name"], _literals(found["sqltext"]))
            for table in models.metadata.tables
            for found in inspector.get_check_constraints(table)
        }
    expected = {
        (table.name, str(check.name), _literals(str(check.sqltext)))
        for table in models.metadata.tables.values()
        for check in table.constraints
        if hasattr(check, "sqltext")
    }
    assert made == expected
    assert made


def test_the_conditions_of_partial_indexes_are_those_of_the_models(core: Core) -> None:
    """Alembic compares no conditions."""
    importlib.import_module("usersvc.db.postgresql")  # gives the indexes theirs there
    with core.read() as tx:
        made = _conditions(tx)
    expected = {}
    for table in models.metadata.tables.values():
        for index in table.indexes:
            for dialect in ("sqlite", "postgresql"):
                where = index.dialect_options[dialect]["where"]
                expected.setdefault(index.name, set()).add(None if where is None else str(where))
    assert {name: {condition} for name, condition in made.items()} == expected


def test_every_table_of_the_design_has_its_columns(core: Core) -> None:
    assert _tables(core) == {*COLUMNS, "alembic_version"}
    with core.read() as tx:
        inspector = inspect(tx.connection)
        for table, columns in COLUMNS.items():
            assert {column["name"] for column in inspector.get_columns(table)} == set(columns.split()), table
            key = inspector.get_pk_constraint(table)["constrained_columns"]
            assert key == PRIMARY.get(table, ["id"]), table


def test_every_table_of_the_design_has_its_indexes(core: Core) -> None:
    with core.read() as tx:
        inspector, conditions = inspect(tx.connection), _conditions(tx)
        for table, expected in INDEXES.items():
            made = {
                (
                    " ".join(map(str, index["column_names"])),
                    bool(index["unique"]),
                    conditions[str(index["name"])],
                )
                for index in inspector.get_indexes(table)
            }
            assert made >= set(expected), table


def test_every_foreign_key_has_its_rule_and_an_index_on_the_child(core: Core) -> None:
    found = set()
    with core.read() as tx:
        inspector = inspect(tx.connection)
        for table in COLUMNS:
            leading = {str(index["column_names"][0]) for index in inspector.get_indexes(table)}
            leading.add(inspector.get_pk_constraint(table)["constrained_columns"][0])
            for key in inspector.get_foreign_keys(table):
                [column] = key["constrained_columns"]
                found.add((table, column, key["referred_table"], key["options"].get("ondelete")))
                assert column in leading, (table, column)
    assert found == FOREIGN


def test_every_constraint_has_a_name(core: Core) -> None:
    with core.read() as tx:
        inspector = inspect(tx.connection)
        for table in COLUMNS:
            assert inspector.get_pk_constraint(table)["name"]
            assert all(key["name"] for key in inspector.get_foreign_keys(table))
            assert all(check["name"] for check in inspector.get_check_constraints(table))


# -- the line of revisions


def test_the_code_knows_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


def test_the_revisions_are_a_single_line_of_numbers() -> None:
    scripts = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())[::-1]
    numbers = [script.revision for script in scripts]
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert [script.down_revision for script in scripts] == [None, *numbers[:-1]]
    for script in scripts:
        assert Path(str(script.path)).name.startswith(f"{script.revision}_")


@pytest.mark.sqlite
def test_r23_down_and_up_again_makes_the_same_schema(core: Core) -> None:
    active(core)
    before = core.database.path

    def made() -> list[str]:
        connection = sqlite3.connect(before)
        try:
            listed = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
            return [sql for (sql,) in connection.execute(listed)]
        finally:
            connection.close()

    first = made()
    with core.write() as tx:
        command.downgrade(alembic_config(tx.connection), "base")
    assert _tables(core) == {"alembic_version"}
    assert schema.look(core) is Schema.ABSENT
    assert migration.prepare(core)
    assert made() == first
    assert schema.look(core) is Schema.CURRENT


@pytest.mark.parametrize("revision", [f"{number:04}" for number in range(1, int(HEAD))])
def test_r23_a_database_of_an_older_revision_keeps_its_data(core: Core, revision: str) -> None:
    active(core)
    logged_in(core)
    mails.queue(core)
    before = _rows(core)
    with core.write() as tx:
        command.downgrade(alembic_config(tx.connection), revision)
    assert schema.look(core) is Schema.OUTDATED
    assert migration.prepare(core)
    after = _rows(core)
    *kept, migrated = after.pop("audit")
    assert (kept, migrated["action"]) == (before.pop("audit"), "schema.migrated")
    assert after == before
    assert logged_in(core).access_token
    with core.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), models.metadata) == []


# -- all or nothing


def test_a_database_is_made_where_there_is_none_and_then_left_alone(fresh: Core) -> None:
    assert migration.prepare(fresh)
    before = dump(fresh)
    assert not migration.prepare(fresh)
    assert dump(fresh) == before
    schema.require_current(fresh)
    fresh.close()


@pytest.mark.parametrize("obstacle", ["CREATE TABLE users (x)", "CREATE TABLE outbox (x)"])
def test_r23_a_migration_that_fails_in_the_middle_leaves_nothing(fresh: Core, obstacle: str) -> None:
    fresh.database.create()
    with fresh.write() as tx:
        tx.connection.execute(text(obstacle))
    in_the_way = _tables(fresh)
    with pytest.raises(DBAPIError, match="already exists"):
        migration.prepare(fresh)
    assert _tables(fresh) == in_the_way
    with fresh.write() as tx:
        tx.connection.execute(text(obstacle.replace("CREATE", "DROP").replace("(x)", "")))
    assert migration.prepare(fresh)
    schema.require_current(fresh)
    fresh.close()


def test_r23_a_migration_that_runs_out_of_room_leaves_nothing_and_can_be_repeated(fresh: Core) -> None:
    fresh.database.create()
    with fresh.write() as tx:
        tx.connection.execute(text("PRAGMA max_page_count = 8"))
    with pytest.raises(DatabaseUnavailable, match="full"):
        migration.prepare(fresh)
    assert _tables(fresh) == set()
    with fresh.write() as tx:
        tx.connection.execute(text("PRAGMA max_page_count = 1000000"))
    assert migration.prepare(fresh)
    fresh.close()


def test_r23_of_many_that_migrate_at_once_one_does(tmp_path: Path) -> None:
    cores = [build(settings_for(tmp_path / "data")) for _ in range(6)]
    together = threading.Barrier(len(cores), timeout=60)
    answers: list[object] = []

    def prepare(core: Core) -> None:
        together.wait()
        try:
            answers.append(migration.prepare(core))
        except BaseException as error:
            answers.append(error)

    threads = [threading.Thread(target=prepare, args=(core,)) for core in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["False"] * 5 + ["True"]
    with cores[0].read() as tx:
        assert tx.connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [
            HEAD
        ]
    for core in cores:
        core.close()


# -- what is refused


def test_r23_a_newer_schema_is_refused_and_left_alone(core: Core) -> None:
    _set_revision(core, f"{int(HEAD) + 1:04}")
    before = dump(core)
    with pytest.raises(SchemaTooNew):
        migration.prepare(core)
    with pytest.raises(SchemaTooNew):
        schema.require_current(core)
    assert dump(core) == before


def test_r23_an_older_schema_is_refused_by_who_does_not_migrate(core: Core) -> None:
    _set_revision(core, "0000")
    assert schema.look(core) is Schema.OUTDATED
    with pytest.raises(SchemaOutdated):
        schema.require_current(core)


def test_r28_no_database_is_refused_and_none_is_made(fresh: Core, tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match="usersvc migrate"):
        schema.require_current(fresh)
    (tmp_path / "data").mkdir()
    with pytest.raises(NoDatabase):
        schema.require_current(fresh)
    assert list((tmp_path / "data").iterdir()) == []
    fresh.close()


def test_r28_an_empty_file_is_no_database(fresh: Core, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "usersvc.db").touch(mode=0o600)
    with pytest.raises(NoDatabase):
        schema.require_current(fresh)
    fresh.close()
    assert (tmp_path / "data" / "usersvc.db").read_bytes() == b""


def test_a_ring_is_not_opened_in_a_database_without_tables(fresh: Core) -> None:
    fresh.database.create()
    with pytest.raises(DBAPIError, match="no such table"):
        keys.open_ring(fresh)
    assert [path.name for path in fresh.database.path.parent.glob("*.key")] == []
    fresh.close()
