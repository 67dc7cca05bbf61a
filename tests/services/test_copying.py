"""Copying a database into another: everything arrives, or it is said that it did not."""

import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from sqlalchemy import Table, delete, insert, select, text, update

from tests import outbox as mails
from tests.conftest import settings_for
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    invited,
    logged_in,
    pending,
    rewrite_user,
    user_row,
)
from tests.files import bring_in, lines
from tests.groups import a_group, put_in
from tests.hooks import tell
from tests.outbox import Killed
from usersvc.clock import MovedClock
from usersvc.core import Core, build
from usersvc.db import migrate
from usersvc.db.models import audit, group_members, jobs, metadata, outbox, sessions, users
from usersvc.db.schema import HEAD, mark_of_copy
from usersvc.errors import (
    CopyDiffers,
    CopyUnfinished,
    DatabaseNotEmpty,
    InvalidCredentials,
    NoDatabase,
    RowRefused,
    SchemaOutdated,
    SchemaTooNew,
)
from usersvc.mail.transports import MemoryTransport
from usersvc.services import (
    copying,
    erasure,
    health,
    keys,
    login,
    migration,
    passwords,
    registration,
    schema,
    service_accounts,
    webhooks,
)
from usersvc.services.copying import CopiedTable
from usersvc.services.sessions import refresh
from usersvc.settings import SettingsError

ANOTHER_SECRET = "b8Wz+3/Rt6Kp1qXn5MyLdVcJg9HfUeTaSo4Yi2ZmQk7="
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def source(data_dir: Path, clock: MovedClock, transport: MemoryTransport) -> Iterator[Core]:
    yield from _opened(data_dir, clock, transport)


@pytest.fixture(scope="session")
def grown_dir(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with something in every table, to be copied."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("grown") / "data"))
    clock = MovedClock()
    for core in _opened(folder, clock, MemoryTransport()):
        _grow(core, clock)
    return folder


@pytest.fixture
def grown(grown_dir: Path, tmp_path: Path, clock: MovedClock, transport: MemoryTransport) -> Iterator[Core]:
    yield from _opened(Path(shutil.copytree(grown_dir, tmp_path / "grown")), clock, transport)


def _opened(folder: Path, clock: MovedClock, transport: MemoryTransport) -> Iterator[Core]:
    core = build(settings_for(folder), clock=clock, transport=transport)
    keys.open_ring(core)
    yield core
    core.close()


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that nothing was made in."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'copy.db'}"
        return
    server = request.getfixturevalue("prepared_postgresql").server
    name = server.new_database()
    yield server.address(name)
    server.drop_database(name)


@pytest.fixture
def target(source: Core, empty: str) -> Iterator[Core]:
    core = _beside(source, empty)
    yield core
    core.close()


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_BATCH", 2)


def _beside(core: Core, url: str) -> Core:
    return build(core.settings.on_database(url), clock=core.clock, transport=core.transport)


def _copy(source: Core, target: Core, **more: Callable[[int], object]) -> list[CopiedTable]:
    plan = copying.plan(source, target)
    migration.prepare_copy(target, mark=plan.mark)
    return copying.copy(source, target, plan=plan, actor=OPERATOR, **more)


def _kill(rows: int) -> None:
    raise Killed


def _copied_but_not_verified(source: Core, target: Core) -> None:
    with pytest.raises(Killed):
        _copy(source, target, verified=_kill)


def _grow(core: Core, clock: MovedClock) -> None:
    """Something in every table, and every kind of value."""
    active(core)
    clock.move(microseconds=1)
    logged_in(core)
    an_admin(core)
    deactivated(core, "dora@example.org")
    invited(core, "ivy@example.org")
    pending(core, "bob@example.org", username="bob")
    with pytest.raises(InvalidCredentials):
        login.log_in(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    group = a_group(core, "desk", "orders:read")
    put_in(core, group)
    put_in(core, group, "ivy@example.org", manager=True)
    health.beat(core)
    health.check_ready(core, actor=STRANGER)
    erasure.forget_again(core, [erasure.Erasure(UUID(int=7), clock.now())], actor=OPERATOR)
    made = service_accounts.create(core, name="reports", permissions=["a:x"], actor=OPERATOR)
    with core.write() as tx:
        tx.services.revoke_token(made.credential.id, expires_at=tx.now)
    mails.queue(core, "zoé@example.org", z={"y": [1, None, "\U0001f98a\\u0000"]}, a=0.1)
    bring_in(core, lines({"email": "imported@example.org"}))
    webhooks.create(core, url="https://receiver.example/", actor=OPERATOR)
    tell(core)
    with core.write() as tx:
        tx.audit(OPERATOR, "test.odd", before=None, text='"\\\n', number=-(2**53))
    assert [name for name, found in _rows(core).items() if not found] == []


def _rows(core: Core) -> Rows:
    with core.read() as tx:
        return {
            name: sorted((tuple(row) for row in tx.connection.execute(select(table))), key=repr)
            for name, table in metadata.tables.items()
        }


def _without_copies(rows: Rows) -> Rows:
    action = list(audit.c.keys()).index("action")
    return {**rows, "audit": [row for row in rows["audit"] if row[action] != "database.copied"]}


def _stored(core: Core) -> Rows:
    """As it lies in the file of SQLite."""
    with closing(sqlite3.connect(str(core.database.path))) as file:
        found = {name: file.execute(f"SELECT * FROM {name}").fetchall() for name in metadata.tables}
    return {name: sorted(rows, key=repr) for name, rows in _without_copies(found).items()}


def _is_unfinished(core: Core) -> bool:
    with pytest.raises(CopyUnfinished):
        schema.require_current(core)
    with pytest.raises(CopyUnfinished):
        migration.prepare(core)
    return True


# -- everything arrives


def test_everything_arrives_and_comes_back(
    grown: Core, target: Core, tmp_path: Path, small_batches: None
) -> None:
    before = _rows(grown)
    there = _copy(grown, target)
    assert _without_copies(_rows(target)) == before
    assert _rows(grown) == before
    assert {table.name: table.rows for table in there} == {name: len(rows) for name, rows in before.items()}

    back = _beside(grown, f"sqlite:///{tmp_path / 'back.db'}")
    here = _copy(target, back)
    assert _rows(back)["audit"] != _rows(target)["audit"]
    assert _without_copies(_rows(back)) == before
    assert _stored(back) == _stored(grown)
    same = {table.name: table.digest for table in there if table.name != "audit"}
    assert {table.name: table.digest for table in here if table.name != "audit"} == same
    back.close()


def test_the_copy_is_told_in_its_audit_alone(source: Core, target: Core) -> None:
    entries = len(_rows(source)["audit"])
    _copy(source, target)
    [entry] = audit_rows(target, "database.copied")
    assert (entry.actor_kind, entry.actor_name) == ("operator", "tester")
    assert entry.detail["rows"]["audit"] == entries
    assert audit_rows(source, "database.copied") == []


def test_who_was_there_logs_in_refreshes_and_opens_links_in_the_copy(
    source: Core, target: Core, clock: MovedClock
) -> None:
    active(source)
    token = logged_in(source).refresh_token
    link = pending(source, "bob@example.org")
    _copy(source, target)
    schema.require_current(target)
    assert not migration.prepare(target)
    keys.open_ring(target)
    assert refresh(target, refresh_token=token, actor=STRANGER).access_token
    assert logged_in(target).access_token
    assert registration.activate(target, token=link, actor=STRANGER).status == "active"


def test_an_empty_database_of_an_older_schema_is_migrated(source: Core, target: Core) -> None:
    target.database.create()
    with target.write() as tx:
        command.upgrade(migrate.alembic_config(tx.connection), "0001")
    before = _rows(source)
    _copy(source, target)
    assert _without_copies(_rows(target)) == before


def test_more_rows_need_no_more_memory(source: Core, target: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_BATCH", 100)
    peaks = []

    def note(rows: int) -> None:
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

    _many_entries(source, 2000)
    tracemalloc.start()
    try:
        _copy(source, target, copied=note, verified=note)
    finally:
        tracemalloc.stop()
    assert len(peaks) > 60
    assert max(peaks[30:]) < min(peaks[5:20]) + 1_000_000


def _many_entries(core: Core, number: int) -> None:
    with core.write() as tx:
        for _ in range(number):
            tx.audit(OPERATOR, "test.entry", text="x" * 1000)


# -- broken off


def test_one_that_is_killed_after_every_batch_arrives_in_the_end(
    grown: Core, target: Core, small_batches: None
) -> None:
    killed, done = 0, -1
    while done < copying.plan(grown, target).rows:
        with pytest.raises(Killed):
            _copy(grown, target, copied=_kill, verified=_kill)
        assert _is_unfinished(target)
        plan = copying.plan(grown, target)
        assert done < plan.done <= done + 3
        killed, done = killed + 1, plan.done
    assert killed > 10
    _copy(grown, target)
    assert _without_copies(_rows(target)) == _rows(grown)


def test_one_that_is_killed_before_it_is_released_is_compared_again(grown: Core, target: Core) -> None:
    _copied_but_not_verified(grown, target)
    assert _is_unfinished(target)
    read: list[int] = []
    _copy(grown, target, copied=lambda rows: pytest.fail("copied twice"), verified=read.append)
    assert sum(read) == 2 * sum(map(len, _rows(grown).values()))
    schema.require_current(target)


def test_an_unfinished_copy_is_no_source(source: Core, target: Core, tmp_path: Path) -> None:
    _copied_but_not_verified(source, target)
    with pytest.raises(CopyUnfinished):
        copying.plan(target, _beside(source, f"sqlite:///{tmp_path / 'third.db'}"))
    assert not (tmp_path / "third.db").exists()


# -- refused before anything happens


def _served(core: Core) -> None:
    migration.prepare(core)
    keys.open_ring(core)


def _of_another_program(core: Core) -> None:
    core.database.create()
    with core.write() as tx:
        tx.connection.execute(text("CREATE TABLE invoices (id int)"))


def _tables_without_a_version(core: Core) -> None:
    core.database.create()
    with core.write() as tx:
        tx.connection.execute(text("CREATE TABLE users (id int)"))


def _copy_of_another(core: Core) -> None:
    migration.prepare_copy(core, mark=mark_of_copy("0123456789abcdef"))


@pytest.mark.parametrize(
    ("occupy", "told"),
    [
        (migration.prepare, "in the table audit"),
        (_served, "in the table audit"),
        (_of_another_program, "in the table invoices"),
        (_tables_without_a_version, "in the table users"),
        (_copy_of_another, "of another database"),
    ],
)
def test_a_target_that_holds_anything_is_refused_and_left_alone(
    source: Core, target: Core, occupy: Callable[[Core], object], told: str
) -> None:
    mark = copying.plan(source, target).mark
    occupy(target)
    with target.read() as tx:
        before = _dump(tx.connection)
    with pytest.raises(DatabaseNotEmpty, match=told):
        copying.plan(source, target)
    with pytest.raises(DatabaseNotEmpty, match=told):
        migration.prepare_copy(target, mark=mark)
    with target.read() as tx:
        assert _dump(tx.connection) == before


def _dump(connection: Any) -> Rows:
    tables = ["invoices", "alembic_version", *metadata.tables]
    there = [name for name in tables if connection.dialect.has_table(connection, name)]
    return {name: sorted(connection.execute(text(f"SELECT * FROM {name}")), key=repr) for name in there}


def test_a_database_is_not_copied_into_itself(source: Core) -> None:
    with pytest.raises(DatabaseNotEmpty):
        copying.plan(source, source)


def test_an_empty_database_of_a_newer_schema_is_refused(source: Core, target: Core) -> None:
    _copy_of_another(target)
    _set_revision(target, "9999")
    with pytest.raises(SchemaTooNew):
        copying.plan(source, target)


def _set_revision(core: Core, revision: str) -> None:
    with core.write() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


@pytest.mark.parametrize(("revision", "error"), [("0001", SchemaOutdated), ("9999", SchemaTooNew)])
def test_a_source_of_another_schema_is_refused(
    source: Core, target: Core, revision: str, error: type[Exception]
) -> None:
    _set_revision(source, revision)
    with pytest.raises(error):
        copying.plan(source, target)
    assert schema.is_absent(target)


def test_a_source_that_is_not_there_or_was_never_used_is_refused(
    source: Core, target: Core, tmp_path: Path
) -> None:
    new = _beside(source, f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(NoDatabase, match=r"new\.db"):
        copying.plan(new, target)
    assert not (tmp_path / "new.db").exists()
    migration.prepare(new)
    with pytest.raises(NoDatabase, match="Nothing was ever kept"):
        copying.plan(new, target)
    new.close()


def test_another_secret_key_is_refused_before_anything_is_made(
    source: Core, data_dir: Path, target: Core
) -> None:
    wrong = build(settings_for(data_dir, server__secret_key=ANOTHER_SECRET))
    with pytest.raises(SettingsError, match="not the secret key"):
        copying.plan(wrong, target)
    assert schema.is_absent(target)
    wrong.close()


def test_a_target_that_was_not_made_ready_is_refused(source: Core, target: Core) -> None:
    plan = copying.plan(source, target)
    with pytest.raises(CopyUnfinished):
        copying.copy(source, target, plan=plan, actor=OPERATOR)


# -- what did not arrive is told


def _touch(core: Core) -> None:
    rewrite_user(core, last_login_at=core.clock.now() + timedelta(microseconds=1))


def _add(core: Core) -> None:
    pending(core, "late@example.org")


def _remove(core: Core) -> None:
    with core.write() as tx:
        tx.connection.execute(delete(users).where(users.c.email_key == "bob@example.org"))


@pytest.mark.parametrize("change", [_touch, _add, _remove])
def test_a_source_that_changes_meanwhile_makes_the_copy_fail(
    grown: Core, target: Core, change: Callable[[Core], None]
) -> None:
    changes = [change]

    def interfere(rows: int) -> None:
        if changes and _rows(target)["users"]:
            changes.pop()(grown)

    with pytest.raises((CopyDiffers, RowRefused)) as error:
        _copy(grown, target, copied=interfere)
    assert "users" in str(error.value)
    assert not changes
    assert _is_unfinished(target)
    # Nothing that is done to it again makes it good.
    with pytest.raises((CopyDiffers, RowRefused)):
        _copy(grown, target)
    assert _is_unfinished(target)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (users, {"username": None}),
        (users, {"email": "Ada@example.org"}),
        (users, {"id": UUID(int=1)}),
        (sessions, {"rnd_digest": b"\0" * 32}),
        (sessions, {"seq": 7}),
        (outbox, {"data": {}}),
        (group_members, {"manager": True}),
        (audit, {"detail": {"before": None}}),
        (jobs, {"finished_at": None}),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "-".join(value),
)
def test_a_value_of_any_kind_that_differs_is_seen(
    grown: Core, target: Core, table: Table, values: dict[str, Any]
) -> None:
    chosen = {"users": "bob@example.org", "outbox": "zoé@example.org", "audit": "test.odd"}.get(table.name)
    column = {"users": users.c.email_key, "outbox": outbox.c.address, "audit": audit.c.action}.get(table.name)
    if "id" in values:
        # One that nothing points to.
        with grown.write() as tx:
            tx.connection.execute(insert(users).values({**_as_row(grown), "id": UUID(int=2)}))
        chosen = "new@example.org"
    _copied_but_not_verified(grown, target)
    statement = update(table).values(**values)
    with target.write() as tx:
        tx.connection.execute(statement.where(column == chosen) if column is not None else statement)
    with pytest.raises(CopyDiffers, match=f"{table.name} has as many rows as its copy, but other values"):
        _copy(grown, target)
    assert _is_unfinished(target)


def _as_row(core: Core) -> dict[str, Any]:
    """An account like another one, under an address of its own."""
    own = {"email": "new@example.org", "email_key": "new@example.org", "username": None, "username_key": None}
    return vars(user_row(core, "ivy@example.org")) | own


def test_a_release_by_somebody_else_is_seen(source: Core, target: Core) -> None:
    def release(rows: int) -> None:
        _set_revision(target, HEAD)

    with pytest.raises(CopyDiffers, match="somebody else"):
        _copy(source, target, verified=release)


def test_keys_that_the_secret_does_not_open_are_no_copy(
    source: Core, data_dir: Path, target: Core, empty: str
) -> None:
    wrong = build(settings_for(data_dir, server__secret_key=ANOTHER_SECRET).on_database(empty))
    with pytest.raises(SettingsError, match="not the secret key"):
        _copy(source, wrong)
    assert _is_unfinished(wrong)
    wrong.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("agent", "told"), [("x" * 300, "too long"), ("x\0y", "NUL")])
def test_a_row_that_postgresql_refuses_is_named_without_its_values(
    source: Core, target: Core, agent: str, told: str
) -> None:
    active(source)
    for _ in range(3):
        logged_in(source)
    with source.read() as tx:
        [_, chosen, _] = tx.connection.execute(select(sessions.c.id).order_by(sessions.c.id)).scalars()
    with source.write() as tx:
        tx.connection.execute(update(sessions).where(sessions.c.id == chosen).values(user_agent=agent))
    with pytest.raises(RowRefused, match=told) as error:
        _copy(source, target)
    assert f"{chosen} of sessions" in str(error.value)
    assert agent not in str(error.value)
    # Mended, it goes on where it was.
    with source.write() as tx:
        tx.connection.execute(update(sessions).where(sessions.c.id == chosen).values(user_agent="curl"))
    assert copying.plan(source, target).done
    _copy(source, target)
    assert _without_copies(_rows(target)) == _rows(source)


def test_two_instances_under_one_secret_key_are_told_apart(source: Core, target: Core) -> None:
    _copied_but_not_verified(source, target)
    with source.write() as tx:
        tx.connection.execute(text("UPDATE instance SET created_at = '2020-01-01 00:00:00.000000'"))
    with pytest.raises(DatabaseNotEmpty, match="of another database"):
        copying.plan(source, target)
