"""The audit: what is written stays as it was, until its time is over."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import IntegrityError

from tests.factories import active, entries_of
from usersvc.core import Core
from usersvc.repositories.audit import AuditEntry
from usersvc.security.secrets import new_id

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _written(
    core: Core, at: datetime, target: UUID, *, action: str = "test.purged", kind: str = "job"
) -> AuditEntry:
    entry = AuditEntry(
        id=new_id(at),
        at=at,
        actor_kind=kind,
        actor_id=None,
        actor_name="test",
        action=action,
        target_id=target,
        ip="2001:db8::1",
        outcome="ok",
        request_id=None,
        detail={"counts": {"sessions": 1}, "nothing": None, "name": "Ω"},
    )
    with core.write() as tx:
        tx.audit_entries.insert(entry)
    return entry


def test_entries_are_as_they_were_written(core: Core) -> None:
    target = uuid4()
    entries = [_written(core, NOON + n * DAY, target) for n in range(3)]
    _written(core, NOON, uuid4())
    with core.read() as tx:
        found = entries_of(tx, target)
    assert found == entries


def test_an_entry_outlives_whom_it_names(core: Core) -> None:
    account = active(core)
    with core.write() as tx:
        before = entries_of(tx, account.id)
        assert before
        tx.connection.exec_driver_sql("DELETE FROM users")
        assert entries_of(tx, account.id) == before


def test_an_actor_of_no_known_kind_is_refused(core: Core) -> None:
    with pytest.raises(IntegrityError):
        _written(core, NOON, uuid4(), kind="stranger")


def test_purging_takes_old_entries_up_to_the_limit(core: Core) -> None:
    target = uuid4()
    for _ in range(5):
        _written(core, NOON - DAY, target)
    kept = [_written(core, NOON, target), _written(core, NOON + DAY, target)]
    with core.write() as tx:
        assert tx.audit_entries.count_before(NOON) == 5
        assert tx.audit_entries.delete_before(NOON, limit=3) == 3
    with core.write() as tx:
        assert tx.audit_entries.count_before(NOON) == 2
        assert tx.audit_entries.delete_before(NOON, limit=3) == 2
        assert tx.audit_entries.delete_before(NOON, limit=3) == 0
        assert entries_of(tx, target) == kept
