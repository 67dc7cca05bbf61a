"""A backup restored: all of it is there, and nothing that was ended since lives again."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from pydantic import SecretStr

from tests.clients_of_postgresql import on_the_path
from tests.conftest import Make, settings_for
from tests.database import dump
from tests.factories import (
    EMAIL,
    OPERATOR,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    delivered,
    logged_in,
    outbox_rows,
    pending,
    user_row,
)
from tests.hooks import deliveries, tell
from tests.outbox import Killed
from usersvc.clock import MovedClock
from usersvc.core import Core, build
from usersvc.db.migrate import alembic_config
from usersvc.db.schema import HEAD, Schema
from usersvc.errors import (
    BackupUnfit,
    DatabaseInUse,
    DomainError,
    Forbidden,
    InvalidLink,
    InvalidToken,
    NotRestored,
)
from usersvc.mail.transports import MemoryTransport
from usersvc.services import (
    admin,
    authentication,
    backups,
    erasure,
    keys,
    maintenance,
    migration,
    outbox,
    registration,
    restoring,
    schema,
    webhooks,
)
from usersvc.services.restoring import Restored
from usersvc.services.sessions import refresh
from usersvc.settings import SettingsError

Again = Callable[[Core], Core]
ANOTHER_SECRET = "b8Wz+3/Rt6Kp1qXn5MyLdVcJg9HfUeTaSo4Yi2ZmQk7="


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_path(request, monkeypatch)


@pytest.fixture
def again() -> Iterator[Again]:
    """As another process opens the database."""
    opened: list[Core] = []

    def open_again(core: Core) -> Core:
        core.database.close()
        opened.append(build(core.settings, clock=core.clock, transport=core.transport))
        keys.open_ring(opened[-1])
        return opened[-1]

    yield open_again
    for core in opened:
        core.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users.backup"


def _restore(core: Core, file: Path) -> Restored:
    plan = restoring.plan(core, path=file, actor=OPERATOR)
    return restoring.restore(core, plan=plan, actor=OPERATOR)


def _refused(error: type[DomainError], what: Callable[..., Any], core: Core, **given: Any) -> None:
    with pytest.raises(error):
        what(core, actor=STRANGER, **given)


def test_r25_nothing_lives_again_that_was_ended_since_and_all_else_is_there(
    core: Core, file: Path, clock: MovedClock, again: Again
) -> None:
    """Whoever was erased, too; what else was revoked is told."""
    webhooks.create(core, url="https://receiver.example/", actor=OPERATOR)
    ada, root = active(core), an_admin(core)
    bob, eve = active(core, "bob@example.org"), active(core, "eve@example.org")
    pair = logged_in(core)
    link = pending(core, "late@example.org")
    registration.register(core, email="due@example.org", password="zebra quilt 41 lamp", actor=STRANGER)
    tell(core)
    maintenance.purge_slot(core, clock.now(), actor=OPERATOR)
    counters = _counters(core)
    kids = {key.kid: key.use for key in core.key_ring.keys}
    backups.make(core, path=file, actor=OPERATOR)

    clock.move(minutes=5)
    used = refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    [mail] = delivered(core)
    registration.register(core, email="lost@example.org", password="zebra quilt 41 lamp", actor=STRANGER)
    admin.deactivate(core, user_id=bob.id, actor=OPERATOR)
    erasure.forget(core, user_id=eve.id, actor=OPERATOR)
    plan = restoring.plan(core, path=file, actor=OPERATOR)
    assert plan.losses.entries["user.registered"] == 1
    assert [(one.action, one.target_id) for one in plan.losses.revocations] == [("user.deactivated", bob.id)]
    done = restoring.restore(core, plan=plan, actor=OPERATOR)
    assert (done.ended.sessions, done.ended.links, done.ended.mails) == (1, 2, 1)
    assert (done.keys, done.erased) == (3, 1)
    assert done.ended.deliveries > 1

    core = again(core)
    for email, there in ((EMAIL, ada), ("bob@example.org", bob), ("root@example.org", root)):
        assert (user_row(core, email).id, user_row(core, email).status) == (there.id, "active")
    assert [one.user_id for one in erasure.list_erasures(core, actor=OPERATOR)] == [eve.id]
    assert b"eve@" not in "\n".join(map(str, dump(core))).encode()
    for token in (pair.refresh_token, used.refresh_token):
        _refused(InvalidToken, refresh, core, refresh_token=token)
    _refused(InvalidToken, authentication.authenticate, core, access_token=pair.access_token)
    _refused(InvalidLink, registration.activate, core, token=link)
    assert logged_in(core).refresh_token
    assert delivered(core) == []
    assert mail["To"].addresses[0].addr_spec == "due@example.org"
    [held] = [one for one in outbox_rows(core) if one.status == "dead"]
    assert (held.address, "database was restored" in (held.last_error or "")) == ("due@example.org", True)
    assert {one.status for one in deliveries(core) if one.created_at < clock.now()} == {"dead"}
    outbox.retry(core, mail_id=held.id, actor=OPERATOR)
    assert delivered(core) == []
    now = {key.kid: key.use for key in core.key_ring.keys}
    assert sorted(kids[kid] for kid in kids.keys() & now.keys()) == ["cursor", "throttle"]
    assert len(now) == 5
    assert counters <= _counters(core)
    assert maintenance.last_slot(core) == clock.now()
    [entry] = audit_rows(core, "database.restored")
    assert (entry.actor_name, entry.detail["sessions"], entry.detail["erased"]) == ("tester", 1, 1)
    assert done.kept
    assert done.kept.stat().st_mode & 0o777 == 0o600
    kept = backups.verify(core.settings, path=done.kept, at=clock.now())
    assert (kept.problems, kept.rows["users"]) == ([], 6)


def _counters(core: Core) -> set[tuple[str, bytes]]:
    with core.read() as tx:
        return {
            (kind, bytes(key))
            for kind, key in tx.connection.exec_driver_sql("SELECT kind, key_digest FROM throttle")
            if not kind.startswith("mail")
        }


def test_after_restore_is_safe_to_repeat(core: Core, again: Again) -> None:
    active(core)
    pair = logged_in(core)
    eve = active(core, "eve@example.org")
    first = restoring.after_restore(core, erased=[eve.id], actor=OPERATOR)
    assert (first.ended.sessions, first.erased) == (1, 1)
    second = restoring.after_restore(core, erased=[eve.id], actor=OPERATOR)
    assert (second.ended.sessions, second.ended.links, second.ended.mails, second.erased) == (0, 0, 0, 0)
    core = again(core)
    _refused(InvalidToken, refresh, core, refresh_token=pair.refresh_token)
    assert logged_in(core)
    with pytest.raises(Forbidden):
        restoring.after_restore(core, actor=STRANGER)


def test_whoever_is_the_last_administrator_is_not_erased_and_told(core: Core) -> None:
    root = an_admin(core)
    done = restoring.after_restore(core, erased=[root.id], actor=OPERATOR)
    assert (done.erased, done.last_admins) == (0, [root.id])
    assert schema.look(core) is Schema.CURRENT


# -- what is refused, with nothing changed


def test_another_secret_key_is_refused_before_anything_is_changed(core: Core, file: Path) -> None:
    active(core)
    backups.make(core, path=file, actor=OPERATOR)
    before = dump(core)
    server = core.settings.server.model_copy(update={"secret_key": SecretStr(ANOTHER_SECRET)})
    right, core.settings = core.settings, core.settings.model_copy(update={"server": server})
    with pytest.raises(SettingsError, match="not the secret key that the backup was made with"):
        restoring.plan(core, path=file, actor=OPERATOR)
    with pytest.raises(SettingsError, match="not the secret key"):
        restoring.after_restore(core, actor=OPERATOR)
    core.settings = right
    assert dump(core) == before


def test_a_database_that_is_in_use_is_refused(core: Core, file: Path, make_core: Make) -> None:
    backups.make(core, path=file, actor=OPERATOR)
    other = make_core()
    with pytest.raises(DatabaseInUse, match="stop every `usersvc serve`"):
        restoring.plan(core, path=file, actor=OPERATOR)
    other.database.close()
    plan = restoring.plan(core, path=file, actor=OPERATOR)
    keys.check_ring(other)
    with pytest.raises(DatabaseInUse):
        restoring.restore(core, plan=plan, actor=OPERATOR)
    other.database.close()
    assert restoring.restore(core, plan=plan, actor=OPERATOR).kept


def test_a_backup_that_cannot_be_relied_on_is_refused(core: Core, file: Path) -> None:
    active(core)
    backups.make(core, path=file, actor=OPERATOR)
    file.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(BackupUnfit, match="it is damaged"):
        restoring.plan(core, path=file, actor=OPERATOR)
    assert user_row(core).status == "active"


# -- killed, by hand, from an older version


def test_a_restore_that_is_killed_leaves_the_old_database_or_one_that_nothing_serves_from(
    core: Core, file: Path, monkeypatch: pytest.MonkeyPatch, again: Again
) -> None:
    ada = active(core)
    backups.make(core, path=file, actor=OPERATOR)
    an_admin(core)
    with monkeypatch.context() as killing:

        def kill(*_: object, **__: object) -> None:
            raise Killed

        killing.setattr(erasure, "forget_again", kill)
        with pytest.raises(Killed):
            _restore(core, file)
    if core.database.path:
        assert user_row(core, "root@example.org").role == "admin"
    else:
        for refused in (schema.require_current, migration.prepare):
            with pytest.raises(NotRestored, match="after-restore"):
                refused(core)
        restoring.after_restore(core, actor=OPERATOR)
    core.database.close()
    _restore(core, file)
    assert user_row(again(core)).id == ada.id
    with pytest.raises(AssertionError):
        user_row(core, "root@example.org")


@pytest.mark.sqlite
def test_nothing_serves_from_a_backup_that_was_put_in_place_by_hand(
    core: Core, file: Path, again: Again
) -> None:
    active(core)
    pair = logged_in(core)
    backups.make(core, path=file, actor=OPERATOR)
    path = core.database.path
    assert path
    core.database.close()
    shutil.copy(file, path)
    for refused in (schema.require_current, migration.prepare):
        with pytest.raises(NotRestored):
            refused(core)
    assert restoring.after_restore(core, actor=OPERATOR).ended.sessions == 1
    schema.require_current(core)
    _refused(InvalidToken, refresh, again(core), refresh_token=pair.refresh_token)


@pytest.mark.sqlite
def test_a_backup_of_an_older_schema_is_migrated(
    data_dir: Path, tmp_path: Path, file: Path, clock: MovedClock, again: Again
) -> None:
    """Made by this version, too, before it migrates."""
    old = _older(tmp_path / "old", data_dir, clock)
    assert schema.look(old) is Schema.OUTDATED
    assert not backups.make(old, path=file, actor=OPERATOR).is_told
    old.close()
    core = build(settings_for(data_dir), clock=clock, transport=MemoryTransport())
    _restore(core, file)
    assert schema.look(again(core)) is Schema.CURRENT
    [entry] = audit_rows(core, "schema.migrated")
    assert (entry.detail["before"], entry.detail["after"]) == ("0007", HEAD)
    core.close()


def _older(folder: Path, data_dir: Path, clock: MovedClock) -> Core:
    """As the version before left it."""
    folder.mkdir()
    shutil.copy(data_dir / "secret.key", folder)
    old = build(settings_for(folder), clock=clock, transport=MemoryTransport())
    old.database.create()
    with old.write() as tx:
        command.upgrade(alembic_config(tx.connection), "0007")
    keys.open_ring(old)
    return old


@pytest.mark.sqlite
def test_a_damaged_database_is_replaced_and_kept_and_its_log_does_not_damage_the_new_one(
    core: Core, file: Path, again: Again
) -> None:
    active(core)
    backups.make(core, path=file, actor=OPERATOR)
    path = core.database.path
    assert path
    core.database.close()
    path.write_bytes(b"not a database " * 1000)
    path.with_name(f"{path.name}-wal").write_bytes(b"of the damaged one")
    plan = restoring.plan(core, path=file, actor=OPERATOR)
    assert plan.losses.unknown
    done = restoring.restore(core, plan=plan, actor=OPERATOR)
    assert done.kept
    assert done.kept.read_bytes().startswith(b"not a database")
    assert user_row(again(core)).status == "active"


@pytest.mark.sqlite
def test_a_backup_is_restored_where_no_database_is(
    core: Core, file: Path, tmp_path: Path, clock: MovedClock, again: Again
) -> None:
    active(core)
    backups.make(core, path=file, actor=OPERATOR)
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(core.settings.secret_key_path, new)
    there = build(settings_for(new), clock=clock, transport=MemoryTransport())
    done = _restore(there, file)
    assert done.kept is None
    assert user_row(again(there)).status == "active"
    assert sorted(os.listdir(new)) == ["secret.key", "usersvc.db", "usersvc.db-shm", "usersvc.db-wal"]
    there.close()
