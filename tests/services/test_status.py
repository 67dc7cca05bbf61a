"""How the instance fares, counted by indexes and up to a bound."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from tests.factories import (
    EMAIL,
    OPERATOR,
    STRANGER,
    active,
    deactivated,
    invited,
    logged_in,
    pending,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import Forbidden, InvalidCredentials
from usersvc.services import health, key_rotation, login, status


def test_everything_is_counted_and_no_further_than_asked(core: Core, clock: MovedClock) -> None:
    active(core)
    for number in range(3):
        invited(core, f"i{number}@example.org")
    deactivated(core, "gone@example.org")
    pending(core, "new@example.org")
    logged_in(core)
    with pytest.raises(InvalidCredentials):
        login.log_in(core, email=EMAIL, password="wrong", actor=STRANGER)
    clock.move(minutes=5)
    logged_in(core)
    health.beat(core)

    found = status.look(core, actor=OPERATOR)
    assert found.users == {"active": 1, "pending": 1, "invited": 3, "deactivated": 1}
    assert found.sessions == 2
    assert found.activity["logins"] == {"minute": 1, "hour": 2, "day": 2}
    assert found.activity["failed_logins"] == {"minute": 0, "hour": 1, "day": 1}
    assert found.activity["registrations"]["hour"] == 3
    assert found.mails.by_status["due"] + found.mails.by_status["sent"] >= 4
    assert found.deliveries.by_status == dict.fromkeys(("due", "sent", "dead", "failed", "dropped"), 0)
    assert found.deliveries.waiting_since is None
    assert found.worker_seen_at == clock.now()
    assert found.database.schema == "current"
    assert found.database.bytes > 50_000

    bounded = status.look(core, actor=OPERATOR, most=2)
    assert (bounded.users["invited"], bounded.users["active"], bounded.sessions) == (2, 1, 2)
    assert bounded.activity["registrations"]["hour"] == bounded.counted_to == 2
    clock.move(days=2)
    assert status.look(core, actor=OPERATOR).activity["logins"]["day"] == 0


def test_only_an_operator_may_look(core: Core) -> None:
    with pytest.raises(Forbidden):
        status.look(core, actor=STRANGER)


def test_the_next_rotation_is_that_of_the_key_that_signs_longest(core: Core) -> None:
    with core.read() as tx:
        first = min(key.signs_from for key in tx.keys.all())
    core.settings = core.settings.model_copy(
        update={"tokens": core.settings.tokens.model_copy(update={"rotation_days": 90})}
    )
    assert status.look(core, actor=OPERATOR).next_rotation_at == first + timedelta(days=90)
    key_rotation.rotate(core, actor=OPERATOR)
    rotated = status.look(core, actor=OPERATOR).next_rotation_at
    assert rotated is not None
    assert rotated > first + timedelta(days=90)
    core.settings = core.settings.model_copy(
        update={"tokens": core.settings.tokens.model_copy(update={"rotation_days": 0})}
    )
    assert status.look(core, actor=OPERATOR).next_rotation_at is None


@pytest.mark.sqlite
def test_no_table_that_grows_is_walked_from_end_to_end(core: Core) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with core.read() as tx:
        engine = tx.connection.engine
    event.listen(engine, "before_cursor_execute", note)
    status.look(core, actor=OPERATOR)
    event.remove(engine, "before_cursor_execute", note)
    counting = [(statement, values) for statement, values in asked if " LIMIT " in statement]
    assert len(counting) == 4 + 1 + 9 + 5 + 5
    with core.read() as tx:
        for statement, values in counting:
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            walked = [row[3] for row in plan if row[3].startswith("SCAN") and "anon" not in row[3]]
            assert walked == [], statement
