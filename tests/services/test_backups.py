"""Backups: made while others write, whole or not at all, and looked into before anybody relies on one."""

import fcntl
import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.clients_of_postgresql import on_the_path
from tests.factories import OPERATOR, PASSWORD, STRANGER, active, audit_rows, pending
from tests.outbox import Killed
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db import sqlite_files
from usersvc.db.schema import HEAD
from usersvc.errors import BackupExists, BackupRunning, Forbidden, NoBackup
from usersvc.services import backups, registration
from usersvc.services.backups import Verified

ANOTHER_SECRET = "b8Wz+3/Rt6Kp1qXn5MyLdVcJg9HfUeTaSo4Yi2ZmQk7="


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_path(request, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "users.backup"


def _verified(core: Core, file: Path) -> Verified:
    return backups.verify(core.settings, path=file, at=core.clock.now())


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def test_a_backup_is_one_private_file_that_tells_what_it_is(
    core: Core, file: Path, clock: MovedClock
) -> None:
    active(core)
    made = backups.make(core, path=file, actor=OPERATOR)
    assert (made.bytes, made.is_told) == (file.stat().st_size, True)
    assert os.listdir(file.parent) == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600
    [entry] = audit_rows(core, "database.backed_up")
    assert entry.detail == {"file": str(file), "bytes": made.bytes}
    before = _digest(file)
    clock.move(hours=5)
    found = _verified(core, file)
    assert found.problems == []
    assert (found.secret_fits, found.revision, found.rows["users"]) == (True, HEAD, 1)
    assert found.made_at
    assert abs(found.made_at - made.at) < timedelta(seconds=90)
    assert _digest(file) == before
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.sqlite
def test_r24_what_others_write_meanwhile_neither_waits_nor_tears_it(
    core: Core, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registration at every step: in a snapshot for each, SQLite would begin anew after every one."""
    monkeypatch.setattr(sqlite_files, "_PAGES_A_STEP", 10)
    active(core)
    steps: list[int] = []

    def register(done: int, pages: int) -> None:
        steps.append(done)
        registration.register(core, email=f"u{done}@example.org", password=PASSWORD, actor=STRANGER)

    backups.make(core, path=file, progress=register, actor=OPERATOR)
    assert len(steps) > 5
    assert steps == sorted(set(steps))
    found = _verified(core, file)
    assert (found.problems, found.rows["users"]) == ([], 1)
    with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as inside:
        assert inside.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_file_that_is_there_is_replaced_by_force_alone_and_only_where_it_is_a_backup(
    core: Core, file: Path
) -> None:
    backups.make(core, path=file, actor=OPERATOR)
    with pytest.raises(BackupExists, match="--force"):
        backups.make(core, path=file, actor=OPERATOR)
    active(core)
    backups.make(core, path=file, replace=True, actor=OPERATOR)
    assert _verified(core, file).rows["users"] == 1
    other = file.with_name("letter.txt")
    other.write_text("Dear Ada")
    precious = [other, core.database.path or core.settings.secret_key_path]
    for path in [one for one in precious if one.exists()]:
        before = _digest(path)
        with pytest.raises(BackupExists, match="is no backup"):
            backups.make(core, path=path, replace=True, actor=OPERATOR)
        assert _digest(path) == before
    with pytest.raises(BackupExists, match="a folder"):
        backups.make(core, path=file.parent, replace=True, actor=OPERATOR)


@pytest.mark.sqlite
def test_a_backup_that_is_broken_off_leaves_the_one_before(core: Core, file: Path) -> None:
    backups.make(core, path=file, actor=OPERATOR)
    before = _digest(file)

    def kill(done: int, pages: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        backups.make(core, path=file, replace=True, progress=kill, actor=OPERATOR)
    assert _digest(file) == before
    assert os.listdir(file.parent) == [file.name]


def test_what_a_killed_one_left_is_taken_up_and_what_another_writes_is_not(core: Core, file: Path) -> None:
    draft = file.with_name(f".{file.name}.part")
    draft.write_bytes(b"half of something" * 100_000)
    with draft.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackupRunning):
            backups.make(core, path=file, actor=OPERATOR)
    assert draft.stat().st_size == 1_700_000
    backups.make(core, path=file, actor=OPERATOR)
    assert _verified(core, file).problems == []
    assert os.listdir(file.parent) == [file.name]


def test_nobody_but_an_operator_makes_one(core: Core, file: Path) -> None:
    with pytest.raises(Forbidden):
        backups.make(core, path=file, actor=STRANGER)
    assert not file.exists()


# -- what verifying finds


def test_damage_is_found(core: Core, file: Path) -> None:
    pending(core)
    backups.make(core, path=file, actor=OPERATOR)
    content = file.read_bytes()
    middle = len(content) // 2
    for damaged in (content[:middle], content[:middle] + b"\xff" * 5000 + content[middle + 5000 :]):
        file.write_bytes(damaged)
        assert "it is damaged" in _verified(core, file).problems[0]


def test_another_secret_key_is_found(core: Core, file: Path) -> None:
    backups.make(core, path=file, actor=OPERATOR)
    server = core.settings.server.model_copy(update={"secret_key": SecretStr(ANOTHER_SECRET)})
    other = core.settings.model_copy(update={"server": server})
    found = backups.verify(other, path=file, at=core.clock.now())
    assert (found.secret_fits, found.problems) == (
        False,
        ["the secret key here is not the one that it was made with"],
    )


@pytest.mark.sqlite
def test_files_that_are_no_good_backups_are_told_apart(core: Core, file: Path) -> None:
    path = core.database.path
    assert path
    active(core)
    letter = file.with_name("letter.txt")
    letter.write_text("Dear Ada")
    with pytest.raises(NoBackup):
        _verified(core, letter)
    # As it is used: some of it is in the log.
    assert "lies beside it" in _verified(core, path).problems[0]
    stranger = file.with_name("stranger.db")
    with closing(sqlite3.connect(stranger)) as other:
        other.execute("CREATE TABLE letters (text)")
    assert "no database of usersvc" in _verified(core, stranger).problems[0]
    backups.make(core, path=file, actor=OPERATOR)
    with closing(sqlite3.connect(file)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = 'backup-9999-20300101T000000Z'")
    assert "newer than" in _verified(core, file).problems[0]
    with closing(sqlite3.connect(file)) as torn, torn:
        torn.execute("UPDATE alembic_version SET version_num = ?", [HEAD])
        torn.execute("DELETE FROM users")
    assert "refer to rows of users" in _verified(core, file).problems[0]


@pytest.mark.sqlite
def test_a_plain_copy_without_its_log_lacks_what_was_committed(core: Core, file: Path) -> None:
    """Why docs/operations.md says not to."""
    active(core)
    assert core.database.path
    shutil.copy(core.database.path, file)
    assert _verified(core, file).rows["users"] == 0


@pytest.mark.sqlite
def test_values_that_nobody_wrote_are_damage_too(core: Core, file: Path) -> None:
    backups.make(core, path=file, actor=OPERATOR)
    for entry in ("f" * 32, "no id at all"):
        with closing(sqlite3.connect(file)) as forged, forged:
            forged.execute("UPDATE audit SET id = ? WHERE id = (SELECT max(id) FROM audit)", [entry])
        assert len(_verified(core, file).problems) == (entry[0] != "f")
