"""The audit leaves nothing out: who writes anything writes an entry, in the same transaction."""

import ast
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, inspect, text

from tests.audited import CASES, Case, World
from tests.conftest import Make
from tests.factories import EMAIL, OTHER_PASSWORD, STRANGER, active
from tests.test_docs import audit_table
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db.models import metadata
from usersvc.errors import DomainError, LoginLocked, TooManyAttempts
from usersvc.services import delivery, login

# Which service tells what is the same on every database.
pytestmark = pytest.mark.sqlite

SERVICES = Path(delivery.__file__).parent
# What docs/operations.md says of each action.
DETAILS = audit_table()

# Who may write into these tables without an entry, and why.
WITHOUT_AN_ENTRY = {
    "attempts._count": ({"throttle"}, "what becomes of the attempt has an entry"),
    "attempts._give_back": ({"throttle"}, "nothing was verified"),
    "client_authentication._note_use": (
        {"services", "service_credentials"},
        "when a credential was last used, at most once an hour",
    ),
    "copying._insert_batch": (set(metadata.tables), "`database.copied` counts it at the end"),
    "importing._write_batch": ({"imports"}, "how far it came, where a batch brought nobody in"),
    "migration.prepare_copy": (
        # SQLite changes a CHECK by copying the table.
        {"alembic_version", "_alembic_tmp_audit"},
        "`database.copied` tells it at the end",
    ),
    "delivery._claim": ({"outbox", "jobs", "throttle"}, "a lease, which ends by itself; counters"),
    "delivery._resolve": ({"outbox"}, "a request that leads to nothing is closed"),
    "delivery._settle_sent": ({"outbox"}, "what caused the mail has an entry"),
    "delivery._drop": ({"outbox", "throttle"}, "what its link died of has an entry"),
    "delivery._put_off": ({"outbox"}, "it will be tried again"),
    "delivery._put_back": ({"outbox", "throttle"}, "it will be tried again"),
    "health.beat": ({"jobs"}, "a sign of life"),
    "health.check_ready": ({"jobs"}, "a probe, of nothing that anybody keeps"),
    "maintenance._delete_batch": (
        {
            "link_tokens",
            "sessions",
            "outbox",
            "webhook_deliveries",
            "throttle",
            "logins_from",
            "revoked_tokens",
        },
        "it served its time; `data.purged` counts it at the end",
    ),
    "maintenance._claim_slot": ({"jobs"}, "which worker purges; the purge has an entry"),
    "watching.warn": ({"jobs"}, "who tells of the workers; it changes nothing"),
    "attempts.succeed": ({"throttle"}, "what the password was given for has an entry"),
    "requests.count": ({"throttle"}, "what was asked for has an entry"),
    "webhook_delivery._claim": ({"webhook_deliveries"}, "a lease, which ends by itself"),
    "webhook_delivery._settle_sent": ({"webhook_deliveries"}, "what is told has an entry"),
    "webhook_delivery._drop": ({"webhook_deliveries"}, "what became of its webhook has an entry"),
    "webhook_delivery._put_off": ({"webhook_deliveries"}, "it will be tried again"),
    "sessions.refresh": ({"sessions", "throttle"}, "the ordinary step of a session, every few minutes"),
}

# It writes into a copy beside the database, and does to that what `restoring.after_restore` does.
ELSEWHERE = {"restoring.restore"}


# -- who writes, by the code


Functions = dict[str, ast.FunctionDef]


def _functions(name: str, code: str) -> Functions:
    body = ast.parse(code).body
    return {f"{name}.{node.name}": node for node in body if isinstance(node, ast.FunctionDef)}


def _opens(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == "write" and getattr(node.value, "id", "") == "core"
        for node in ast.walk(function)
    )


def _named(module: str, function: ast.FunctionDef) -> set[str]:
    """What a function may call: of its own module, or of another one by its name."""
    own = {f"{module}.{node.id}" for node in ast.walk(function) if isinstance(node, ast.Name)}
    return own | {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def _openers(functions: Functions) -> set[str]:
    return {name for name, function in functions.items() if _opens(function)}


def _writers(functions: Functions) -> set[str]:
    """The public functions that open a transaction to write, by whatever way."""
    named = {name: _named(name.partition(".")[0], function) for name, function in functions.items()}
    found = _openers(functions)
    while more := {name for name in set(functions) - found if named[name] & found}:
        found |= more
    return {name for name in found if not name.startswith("_") and "._" not in name}


SERVICE_FUNCTIONS: Functions = {}
for path in sorted(SERVICES.glob("*.py")):
    SERVICE_FUNCTIONS |= _functions(path.stem, path.read_text(encoding="utf-8"))
OPENERS = _openers(SERVICE_FUNCTIONS)


def test_every_use_case_that_writes_has_a_case() -> None:
    assert {_name_of(case) for case in CASES.values()} == _writers(SERVICE_FUNCTIONS) - ELSEWHERE


def test_a_writer_is_seen_through_what_it_calls() -> None:
    code = (
        "def read(core):\n    core.read()\n"
        "def write(core):\n    return _step(core)\n"
        "def _step(core):\n    other.write(core)\n"
    )
    other = "def write(core):\n    with core.write() as tx:\n        pass\n"
    assert _writers(_functions("some", code) | _functions("other", other)) == {"some.write", "other.write"}


def _name_of(case: Case) -> str:
    return f"{case.use.__module__.rpartition('.')[2]}.{case.use.__name__}"


# -- what they write, when they run


@dataclass
class Written:
    """One transaction that was committed."""

    opener: str
    tables: set[str] = field(default_factory=set)

    @property
    def is_told(self) -> bool:
        return "audit" in self.tables

    @property
    def is_excused(self) -> bool:
        return self.tables <= WITHOUT_AN_ENTRY.get(self.opener, (set(), ""))[0]


@contextmanager
def watching(core: Core) -> Iterator[list[Written]]:
    """The transactions that change something, as they are committed."""
    committed: list[Written] = []
    current: dict[str, Written] = {}
    changes = 0

    def begin(connection: Connection) -> None:
        nonlocal changes
        changes = _changes(connection)
        # Not all statements go through SQLAlchemy.
        _driver(connection).set_trace_callback(note)

    def note(statement: str) -> None:
        if found := re.match(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)", statement):
            current.setdefault("now", Written(_opener())).tables.add(found[1])

    def commit(connection: Connection) -> None:
        if _changes(connection) > changes:
            committed.append(current["now"])
        rollback(connection)

    def rollback(connection: Connection) -> None:
        _driver(connection).set_trace_callback(None)
        current.clear()

    listeners: list[tuple[str, Any]] = [
        ("begin", begin),
        ("commit", commit),
        ("rollback", rollback),
    ]
    for name, listener in listeners:
        event.listen(core.database._writer, name, listener)
    yield committed
    for name, listener in listeners:
        event.remove(core.database._writer, name, listener)


def _changes(connection: Connection) -> int:
    return _driver(connection).total_changes


def _driver(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _opener() -> str:
    frame = sys._getframe()
    while frame.f_back:
        place = Path(frame.f_code.co_filename)
        name = f"{place.stem}.{frame.f_code.co_name}"
        if place.parent == SERVICES and name in OPENERS:
            return name
        frame = frame.f_back
    pytest.fail("written outside a use case")


@pytest.fixture
def world(core: Core, clock: MovedClock, make_core: Make) -> World:
    return World(core, clock, make_core)


def _rows(core: Core, statement: str, table: str) -> list[Any]:
    """Nothing where there is no such table yet."""
    with core.read() as tx:
        there = inspect(tx.connection).has_table(table)
        return list(tx.connection.execute(text(statement))) if there else []


def _newest(core: Core) -> int:
    return max((row for (row,) in _rows(core, "SELECT rowid FROM audit", "audit")), default=0)


def _names(core: Core) -> dict[str, str]:
    rows = _rows(core, "SELECT id, email FROM users", "users")
    return {row_id: email.partition("@")[0] for row_id, email in rows}


def _told_since(core: Core, newest: int) -> list[Any]:
    return _rows(core, f"SELECT * FROM audit WHERE rowid > {newest} ORDER BY rowid", "audit")


def _as_told(row: Any, names: dict[str, str]) -> str:
    who = f"{row.actor_kind} {names.get(row.actor_id) or row.actor_name or ''}".rstrip()
    return f"{row.action} | {who} | {names.get(row.target_id, '')} | {row.outcome}"


def _act(steps: Iterator[None]) -> None:
    with suppress(DomainError, StopIteration):
        next(steps)


@pytest.mark.parametrize("name", CASES)
def test_a68_each_use_case_is_told_in_the_transaction_of_its_change(world: World, name: str) -> None:
    steps = CASES[name].run(world)
    next(steps)
    newest, names = _newest(world.core), _names(world.core)
    with watching(world.core) as committed:
        _act(steps)
    rows = _told_since(world.core, newest)
    names |= _names(world.core)
    assert [_as_told(row, names) for row in rows] == list(CASES[name].events)
    for row in rows:
        assert row.ip == (STRANGER.ip if row.actor_kind in ("anonymous", "user", "service") else None)
        assert datetime.fromisoformat(row.at).replace(tzinfo=UTC) == world.clock.now()
        assert set(json.loads(row.detail)) <= DETAILS[row.action]
    assert committed, "nothing was written"
    assert [written for written in committed if not written.is_told and not written.is_excused] == []


@pytest.mark.parametrize("times", [1, 40])
def test_a68_who_is_refused_writes_nothing(world: World, times: int) -> None:
    """During a pause, and by an account that is locked."""
    core = world.make_core(throttle__account_login_attempts=10)
    active(core)
    for number in range(10):
        _log_in(core, f"198.51.100.{number}")
    for _ in range(5):
        _log_in(core, STRANGER.ip or "")
    with watching(core) as committed:
        for _ in range(times):
            assert _log_in(core, STRANGER.ip or "") in (TooManyAttempts.code, LoginLocked.code)
            assert _log_in(core, "203.0.113.9") == LoginLocked.code
    assert committed == []


def _log_in(core: Core, ip: str) -> str:
    try:
        login.log_in(core, email=EMAIL, password=OTHER_PASSWORD, actor=replace(STRANGER, ip=ip))
    except DomainError as error:
        return error.code
    pytest.fail("the password is wrong")


class FullError(Exception):
    pass


@contextmanager
def _audit_is_full(core: Core) -> Iterator[None]:
    def refuse(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO audit"):
            raise FullError

    event.listen(core.database._writer, "before_cursor_execute", refuse)
    yield
    event.remove(core.database._writer, "before_cursor_execute", refuse)


def _contents(core: Core, but: set[str]) -> dict[str, list[Any]]:
    """Of every table, the schema's own too."""
    with closing(sqlite3.connect(core.database.path)) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        wanted = {"sqlite_master", *tables} - but
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in wanted}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.events])
def test_a68_what_cannot_be_told_is_not_done(world: World, name: str) -> None:
    steps = CASES[name].run(world)
    next(steps)
    core = world.core
    before = _contents(core, set())
    with watching(core) as committed, _audit_is_full(core):
        if CASES[name].use is delivery.deliver_due:
            # Whatever happens to one mail puts it off and stops no other.
            with suppress(FullError):
                _act(steps)
        else:
            with pytest.raises(FullError):
                _act(steps)
    assert all(written.is_excused for written in committed)
    after = _contents(core, {table for written in committed for table in written.tables})
    assert after == {table: rows for table, rows in before.items() if table in after}


def test_an_exception_is_for_somebody_who_writes_and_has_a_reason() -> None:
    assert set(WITHOUT_AN_ENTRY) <= OPENERS
    assert all(reason for _, reason in WITHOUT_AN_ENTRY.values())
