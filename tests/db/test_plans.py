"""How SQLite finds rows: by an index, where a table may be long. test_postgresql.py asks PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.factories import OPERATOR, active, logged_in
from tests.groups import a_group, put_in
from tests.hooks import deliver, hook, reachable, tell
from tests.processes import free_port
from tests.receivers import Receiver
from usersvc.core import Core
from usersvc.repositories.memberships import GRANTS
from usersvc.services import directory, maintenance, memberships, webhooks
from usersvc.services.actor import Actor

pytestmark = pytest.mark.sqlite


@contextmanager
def _noted(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are run meanwhile, with their values."""
    ran: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        ran.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    yield ran
    event.remove(engine, "before_cursor_execute", note)


def _plan(core: Core, statement: str, values: Any) -> list[str]:
    with core.read() as tx:
        steps = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        return [step[3] for step in steps]


@pytest.mark.parametrize("sort", directory.SORTS)
def test_a_search_reads_the_accounts_that_it_finds_and_no_others(core: Core, sort: directory.Sort) -> None:
    active(core)
    with _noted(core.database._reader) as ran:
        directory.list_users(core, q="ada", sort=sort, actor=OPERATOR)
    searches = [one for one in ran if "FROM users" in one[0]]
    assert len(searches) == 2
    plans = [step for one in searches for step in _plan(core, *one)]
    assert any("uq_users_email_key (email_key>? AND email_key<?)" in step for step in plans)
    assert any("ix_users_username_key (username_key>? AND username_key<?)" in step for step in plans)
    assert [step for step in plans if step.startswith("SCAN users")] == []


def test_deliveries_are_found_by_an_index_and_none_is_looked_for_where_none_waits(core: Core) -> None:
    hook(reachable(core), Receiver(port=free_port()))
    tell(core, times=2)
    with _noted(core.database._writer) as written, _noted(core.database._reader) as read:
        assert deliver(core) == 0
        made = webhooks.list_webhooks(core, actor=OPERATOR)[0].id
        webhooks.list_deliveries(core, webhook_id=made, actor=OPERATOR)
        webhooks.delete(core, webhook_id=made, actor=OPERATOR)
    ran = [one for one in written + read if "webhook_deliveries" in one[0] and "INSERT" not in one[0]]
    assert len(ran) >= 8
    for statement, values in ran:
        plan = [step for step in _plan_to_write(core, statement, values) if "webhook_deliveries" in step]
        assert plan
        assert all("USING" in step and "INDEX" in step for step in plan), (statement, plan)


def _plan_to_write(core: Core, statement: str, values: Any) -> list[str]:
    with closing(sqlite3.connect(core.database.path)) as connection:
        return [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


def _with_statistics_of_many(core: Core) -> sqlite3.Connection:
    """As SQLite plans once ANALYZE has met a million accounts of one status, none of them to go."""
    with closing(sqlite3.connect(core.database.path)) as connection, connection:
        connection.execute("ANALYZE users")
        connection.execute("UPDATE sqlite_stat1 SET stat = '1000000 1 1'")
        many = (
            "UPDATE sqlite_stat1 SET stat = '1000000 1000000 1' WHERE idx = 'ix_users_status_registered_at'"
        )
        assert connection.execute(many).rowcount == 1
    return sqlite3.connect(core.database.path)


def test_what_is_to_go_is_found_by_an_index(core: Core) -> None:
    """It is looked for with the turn to write in hand: to look at every row would hold up everybody."""
    active(core)
    logged_in(core)
    with _noted(core.database._writer) as ran:
        maintenance.purge(core, actor=Actor.job("purge"))
    chosen = [one for one in ran if one[0].startswith("SELECT") and "LIMIT" in one[0]]
    assert len(chosen) == 11
    # Links live for days at most, so that few stand that are not to go.
    longer = [one for one in chosen if not one[0].startswith("SELECT link_tokens.")]
    assert len(longer) == 10
    with closing(_with_statistics_of_many(core)) as connection:
        for statement, values in longer:
            plan = [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert not [step for step in plan if step.startswith("SCAN")], statement


def test_what_somebody_has_of_groups_is_found_by_indexes(core: Core) -> None:
    """Every login and every refresh asks it, and so does who wants to know it."""
    active(core)
    group = a_group(core, "desk", "orders:read")
    user_id = put_in(core, group)
    statement = str(GRANTS.statement.compile(core.database._reader))
    with _noted(core.database._reader) as ran:
        memberships.list_of(core, user_id=user_id, actor=OPERATOR)
        memberships.list_members(core, group_id=group.id, actor=OPERATOR)
    asked = [(statement, (user_id.hex,)), *(one for one in ran if "group_members" in one[0])]
    assert len(asked) == 3
    for one in asked:
        plan = _plan(core, *one)
        assert not [step for step in plan if step.startswith("SCAN")], one[0]
