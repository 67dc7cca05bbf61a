"""The first start: made once, by whoever comes first, and never made over what is there."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import settings_for
from tests.forgery import newest
from usersvc.core import Core, build
from usersvc.db.schema import HEAD
from usersvc.security import secret_key
from usersvc.security.keys import Use
from usersvc.services import keys, migration
from usersvc.settings import Settings, SettingsError

PROCESSES = 6
FOLDERS = 5

# Loaded first, so that the start is at once: each line that comes in names a data directory to start in.
_START = """
import json, sys
from usersvc import configuration, core
from usersvc.security.keys import Use
from usersvc.services import keys, migration
print("ready", flush=True)
for line in sys.stdin:
    made = core.build(configuration.load(environ={"USERSVC_SERVER__DATA_DIR": line.strip()}))
    migrated = migration.prepare(made)
    keys.open_ring(made)
    now = made.clock.now()
    print(json.dumps([migrated, {use: made.key_ring.current(use, now).kid for use in Use}]), flush=True)
    made.close()
"""

Process = subprocess.Popen[str]


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _START],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parents[1],
                )
            )
            for _ in range(PROCESSES)
        ]
        yield started
        for process in started:
            process.kill()


def _say(process: Process, line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: Process) -> str:
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return line


@pytest.mark.process
def test_r23_six_processes_that_start_at_once_make_one_database_one_secret_and_one_ring(
    processes: list[Process], tmp_path: Path
) -> None:
    for process in processes:
        assert _hear(process) == "ready\n"
    for number in range(FOLDERS):
        folder = tmp_path / f"data-{number}"
        for process in processes:
            _say(process, str(folder))
        answers = [json.loads(_hear(process)) for process in processes]
        _require_made_once(folder, answers)
    for process in processes:
        assert process.stdin
        process.stdin.close()
        assert process.wait(60) == 0


def _require_made_once(folder: Path, answers: list[tuple[bool, dict[str, str]]]) -> None:
    assert sorted(migrated for migrated, _ in answers) == [False] * (PROCESSES - 1) + [True]
    rings = [ring for _, ring in answers]
    assert rings == [rings[0]] * PROCESSES
    assert set(rings[0]) == set(Use)
    secret = folder / "secret.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    left = {path.name for path in folder.iterdir()} - {"usersvc.db-wal", "usersvc.db-shm"}
    assert left == {"secret.key", "usersvc.db"}
    with closing(sqlite3.connect(folder / "usersvc.db")) as connection:
        assert _column(connection, "PRAGMA journal_mode") == ["wal"]
        assert _column(connection, "SELECT version_num FROM alembic_version") == [HEAD]
        assert sorted(_column(connection, "SELECT kid FROM keys")) == sorted(rings[0].values())
        assert len(_column(connection, "SELECT id FROM instance")) == 1
        actions = ["schema.migrated", "secret.set", *["key.created"] * len(Use)]
        assert _column(connection, "SELECT action FROM audit ORDER BY id") == actions
        details = _column(connection, "SELECT detail FROM audit WHERE action = 'key.created'")
    assert {made["use"]: made["kid"] for made in map(json.loads, map(str, details))} == rings[0]


def _column(connection: sqlite3.Connection, statement: str) -> list[object]:
    return [row[0] for row in connection.execute(statement)]


def test_who_sees_no_secret_just_before_another_makes_everything_takes_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one of two that start at once: its look for the file is over before the file is made."""
    slow, quick = (build(settings_for(tmp_path / "data")) for _ in range(2))
    migration.prepare(slow)
    find, looks = secret_key.find, []

    def overtaken(settings: Settings) -> str | None:
        found = find(settings)
        if not looks:
            looks.append(found)
            keys.open_ring(quick)
        return found

    monkeypatch.setattr(secret_key, "find", overtaken)
    keys.open_ring(slow)
    assert looks == [None]
    assert [newest(slow.key_ring, use).kid for use in Use] == [newest(quick.key_ring, use).kid for use in Use]
    slow.close()
    quick.close()


# -- what is there is never made anew


def _all_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _start(folder: Path, **values: object) -> Core:
    core = build(settings_for(folder, **values))
    try:
        migration.prepare(core)
        keys.open_ring(core)
    finally:
        core.close()
    return core


def test_a_second_start_changes_nothing(data_dir: Path) -> None:
    before = _all_of(data_dir)
    first, second = _start(data_dir), _start(data_dir)
    assert [newest(first.key_ring, use).kid for use in Use] == [
        newest(second.key_ring, use).kid for use in Use
    ]
    assert _all_of(data_dir) == before


def test_r28_a_missing_secret_beside_keys_is_refused_and_none_is_made(data_dir: Path) -> None:
    (data_dir / "secret.key").unlink()
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match=r"secret\.key: the secret key is missing .* put the file back"):
        _start(data_dir)
    assert _all_of(data_dir) == before


def test_r28_another_secret_in_the_file_is_refused(data_dir: Path) -> None:
    (data_dir / "secret.key").unlink()
    secret_key.make(data_dir / "secret.key")
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match=r"secret\.key: this is not the secret key"):
        _start(data_dir)
    assert _all_of(data_dir) == before


def test_r28_another_secret_in_the_settings_is_refused(data_dir: Path) -> None:
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match=r"server\.secret_key: this is not the secret key"):
        _start(data_dir, server__secret_key="mQ7x" * 4 + "Zp2v-Rk9d_Tw4n" * 3)
    assert _all_of(data_dir) == before


def test_r28_the_right_secret_in_the_settings_opens_the_ring_without_a_file(data_dir: Path) -> None:
    file = data_dir / "secret.key"
    secret = file.read_text().strip()
    file.unlink()
    _start(data_dir, server__secret_key=secret)
    assert not file.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_r28_a_secret_that_others_can_read_is_refused(data_dir: Path, mode: int) -> None:
    (data_dir / "secret.key").chmod(mode)
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match="others can read the secret key: chmod 600"):
        _start(data_dir)
    assert _all_of(data_dir) == before
    assert stat.S_IMODE((data_dir / "secret.key").stat().st_mode) == mode


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"changeme" * 8, b"\xff\xfe" * 40])
def test_r28_a_file_without_a_usable_secret_is_refused(data_dir: Path, content: bytes) -> None:
    (data_dir / "secret.key").write_bytes(content)
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match=r"secret\.key"):
        _start(data_dir)
    assert _all_of(data_dir) == before


def test_r28_a_wrapped_key_that_was_changed_is_refused(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "usersvc.db")) as connection:
        taken, given = "SELECT private_wrapped FROM keys WHERE use = 'link'", "use = 'refresh'"
        connection.execute(f"UPDATE keys SET private_wrapped = ({taken}) WHERE {given}")
        connection.commit()
    with pytest.raises(SettingsError):
        _start(data_dir)


def test_a_database_of_another_installation_is_refused(data_dir: Path, tmp_path: Path) -> None:
    _start(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "usersvc.db", data_dir / "usersvc.db")
    before = _all_of(data_dir)
    with pytest.raises(SettingsError, match="this is not the secret key"):
        _start(data_dir)
    assert _all_of(data_dir) == before


def test_the_secret_is_never_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    secret_key.make(path)
    first = path.read_bytes()
    secret_key.make(path)
    assert path.read_bytes() == first
    assert [found.name for found in tmp_path.iterdir()] == ["secret.key"]


def test_the_secret_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        _start(tmp_path / "data")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "data" / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_r28_a_secret_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        _start(tmp_path / "data", server__secret_key_file=tmp_path / "nowhere" / "secret.key")


def test_r28_a_folder_in_the_place_of_the_secret_is_refused(data_dir: Path) -> None:
    (data_dir / "secret.key").unlink()
    (data_dir / "secret.key").mkdir(mode=0o700)
    with pytest.raises(SettingsError, match=r"secret\.key"):
        _start(data_dir)
