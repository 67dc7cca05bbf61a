"""The engines on SQLite: who waits for whom, and what a file that cannot serve does."""

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.pool import Pool

from tests.conftest import Make, settings_for
from tests.factories import PASSWORD, STRANGER, active, an_admin, delivered, logged_in, token_in
from usersvc.core import Core, build
from usersvc.db import sqlite
from usersvc.db.sqlite import FairLock, SqliteDatabase
from usersvc.errors import DatabaseBusy, DatabaseUnavailable
from usersvc.repositories.users import User
from usersvc.security.secrets import new_id
from usersvc.services import keys, maintenance, migration, registration, schema, sessions
from usersvc.services.actor import Actor

# The other one has test_postgresql.py.
pytestmark = pytest.mark.sqlite

NOBODY = 65534
JOB = Actor.job("test")


def _put_job(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO jobs (name, counts) VALUES (:name, '{}')"), {"name": name})


def _job_names(connection: Connection) -> set[str]:
    return set(connection.execute(text("SELECT name FROM jobs")).scalars())


@contextmanager
def _write_lock_held(path: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


# -- FairLock


def test_the_lock_goes_round_in_the_order_of_asking() -> None:
    lock = FairLock()
    assert lock.acquire(0)
    order: list[int] = []

    def take(number: int) -> None:
        assert lock.acquire(30)
        order.append(number)
        lock.release()

    threads = []
    for number in range(8):
        thread = threading.Thread(target=take, args=(number,))
        thread.start()
        threads.append(thread)
        while len(lock._waiting) <= number:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_who_holds_the_lock_is_alone() -> None:
    lock, inside, most_inside = FairLock(), 0, 0

    def work() -> None:
        nonlocal inside, most_inside
        for _ in range(50):
            assert lock.acquire(30)
            inside += 1
            most_inside = max(most_inside, inside)
            time.sleep(0)
            inside -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_inside == 1
    assert lock.acquire(0)


def test_who_waited_in_vain_is_forgotten() -> None:
    lock = FairLock()
    assert lock.acquire(0)
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0)
    assert not lock.acquire(0)


def test_a_lock_handed_over_just_as_the_time_runs_out_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FairLock()
    assert lock.acquire(0)

    class LateEvent(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            lock.release()
            return False

    monkeypatch.setattr(sqlite.threading, "Event", LateEvent)
    assert lock.acquire(0.01)
    monkeypatch.undo()
    assert not lock.acquire(0)
    lock.release()
    assert lock.acquire(0)


def test_a_waiter_that_is_interrupted_does_not_take_the_lock_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FairLock()
    assert lock.acquire(0)

    class InterruptedEvent(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    monkeypatch.setattr(sqlite.threading, "Event", InterruptedEvent)
    with pytest.raises(KeyboardInterrupt):
        lock.acquire(1)
    monkeypatch.undo()
    lock.release()
    assert lock.acquire(0)


def test_the_lock_is_not_lost_where_many_waiters_give_up_as_it_is_handed_over() -> None:
    lock = FairLock()
    taken = 0

    def work(seed: int) -> None:
        nonlocal taken
        dice = random.Random(seed)
        for _ in range(100):
            if lock.acquire(dice.uniform(0, 0.0006)):
                taken += 1
                time.sleep(0.0003)
                lock.release()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken
    assert lock.acquire(0)
    assert not lock._waiting


# -- readers and the writer


def test_a_reader_cannot_write(core: Core) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"), core.read() as tx:
        _put_job(tx.connection, "from a reader")
    with core.read() as tx:
        assert "from a reader" not in _job_names(tx.connection)


def test_readers_go_on_beside_an_open_writer_and_see_what_is_committed(core: Core) -> None:
    with core.write() as writer:
        _put_job(writer.connection, "new")
        with core.read() as reader:
            assert "new" not in _job_names(reader.connection)
    with core.read() as reader:
        assert "new" in _job_names(reader.connection)


def test_a_reader_keeps_its_snapshot_while_a_writer_commits(core: Core) -> None:
    with core.read() as reader:
        assert _job_names(reader.connection) == set()
        with core.write() as writer:
            _put_job(writer.connection, "new")
        assert _job_names(reader.connection) == set()


def test_many_readers_at_once_do_not_wait_for_each_other(core: Core) -> None:
    inside = threading.Barrier(40, timeout=60)
    errors: list[BaseException] = []

    def look() -> None:
        try:
            with core.read() as tx:
                _job_names(tx.connection)
                inside.wait()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_two_writers_of_one_process_take_turns(core: Core) -> None:
    with core.write(), pytest.raises(DatabaseBusy) as refused, core.write(wait=0.02):
        pytest.fail("both write")
    assert refused.value.retry_after
    with core.write(wait=0.02) as tx:
        _put_job(tx.connection, "afterwards")


def test_r12_a_writer_that_read_first_is_not_thrown_out_by_another(make_core: Make) -> None:
    """Read, then write, in eight threads of two databases at once: with a deferred BEGIN most fail."""
    cores = [make_core(), make_core()]
    with cores[0].write() as tx:
        tx.connection.execute(text("INSERT INTO jobs (name, counts) VALUES ('counter', '0')"))
    errors: list[BaseException] = []

    def count(core: Core) -> None:
        try:
            for _ in range(10):
                with core.write(wait=60) as tx:
                    number = tx.connection.execute(text("SELECT counts FROM jobs")).scalar_one()
                    tx.connection.execute(text("UPDATE jobs SET counts = :n"), {"n": int(number) + 1})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count, args=(cores[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with cores[0].read() as tx:
        assert int(tx.connection.execute(text("SELECT counts FROM jobs")).scalar_one()) == 80


def test_r13_a_foreign_writer_that_holds_on_makes_us_busy_and_nothing_is_written(core: Core) -> None:
    entered = False
    with _write_lock_held(core.database.path):
        with pytest.raises(DatabaseBusy) as refused, core.write(wait=0.1) as tx:
            entered = True
            _put_job(tx.connection, "half")
        assert not entered
        assert refused.value.retry_after
        with core.read() as tx:
            assert _job_names(tx.connection) == set()
    with core.write() as tx:
        _put_job(tx.connection, "whole")
    with core.read() as tx:
        assert _job_names(tx.connection) == {"whole"}


def test_r13_a_foreign_writer_that_lets_go_in_time_is_waited_for(core: Core) -> None:
    with _write_lock_held(core.database.path) as other:
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        with core.write(wait=60) as tx:
            _put_job(tx.connection, "waited")
        timer.join()
    with core.read() as tx:
        assert "waited" in _job_names(tx.connection)


def test_r13_the_wait_for_a_foreign_writer_counts_from_the_asking(core: Core) -> None:
    """Who stood in the queue of the process has that much less left for the lock of the file."""
    started = threading.Event()

    def hold() -> None:
        with core.write():
            started.set()
            while not core.database._lock._waiting:
                time.sleep(0.001)
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    started.wait(60)
    waits: list[int] = []

    def note(connection: Connection) -> None:
        raw = connection.connection.driver_connection
        waits.append(raw.execute("PRAGMA busy_timeout").fetchone()[0])

    event.listen(core.database._writer, "begin", note, insert=True)
    with core.write(wait=60):
        pass
    holder.join()
    assert waits
    assert 0 < waits[-1] <= 59_700


@pytest.mark.process
def test_r13_another_process_with_the_write_lock_makes_writes_busy_and_lets_reads_go(core: Core) -> None:
    script = (
        "import sqlite3, sys\n"
        "held = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "held.execute('BEGIN IMMEDIATE')\n"
        "held.execute(\"INSERT INTO jobs (name, counts) VALUES ('theirs', '{}')\")\n"
        "print('held', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(core.database.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DatabaseBusy), core.write(wait=0.1) as tx:
            _put_job(tx.connection, "ours")
        with core.read() as tx:
            assert _job_names(tx.connection) == set()
        other.kill()
    with core.write(wait=60) as tx:
        _put_job(tx.connection, "ours")
        assert _job_names(tx.connection) == {"ours"}


# -- how connections are set up


def test_r37_a_write_is_on_disk_before_it_is_acknowledged(core: Core) -> None:
    with core.write() as tx:
        assert tx.connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert tx.connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_foreign_keys_are_enforced(core: Core) -> None:
    orphan = text(
        "INSERT INTO logins_from (user_id, network_digest, last_at) "
        "VALUES (:id, x'00', '2026-01-01 00:00:00')"
    )
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), core.write() as tx:
        tx.connection.execute(orphan, {"id": UUID(int=1).hex})
    with core.read() as tx:
        assert tx.connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_mistake_in_a_statement_is_no_trouble_of_the_database(core: Core) -> None:
    with pytest.raises(OperationalError, match="no such table"), core.read() as tx:
        tx.connection.execute(text("SELECT * FROM nowhere"))


def test_the_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        database = SqliteDatabase(tmp_path / "data" / "usersvc.db")
        database.create()
        with database.writing() as connection:
            connection.execute(text("CREATE TABLE t (x)"))
            connection.commit()
        with database.reading() as connection:
            connection.execute(text("SELECT * FROM t"))
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()
            } | {"": stat.S_IMODE((tmp_path / "data").stat().st_mode)}
        database.close()
    finally:
        os.umask(old)
    assert modes == {"": 0o700, "usersvc.db": 0o600, "usersvc.db-wal": 0o600, "usersvc.db-shm": 0o600}


def test_the_switch_to_wal_waits_for_who_uses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "usersvc.db"
    with _write_lock_held(path) as other:
        other.execute("CREATE TABLE t (x)")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        database = SqliteDatabase(path)
        try:
            database.create()
        finally:
            timer.join()
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_r12_every_transaction_that_writes_begins_immediate(make_core: Make) -> None:
    statements: list[tuple[int, str]] = []

    def listen(raw: sqlite3.Connection, _record: object) -> None:
        raw.set_trace_callback(lambda statement: statements.append((id(raw), statement.lstrip())))

    event.listen(Pool, "connect", listen)
    try:
        core = make_core()
        _everything(core)
    finally:
        event.remove(Pool, "connect", listen)
    begun: dict[int, str] = {}
    writes = 0
    for connection, statement in statements:
        word = statement.split()[0].upper()
        if word == "BEGIN":
            begun[connection] = statement
        elif word in ("COMMIT", "ROLLBACK") and "TO" not in statement.upper().split():
            begun.pop(connection, None)
        elif word in ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE"):
            writes += 1
            assert begun.get(connection) == "BEGIN IMMEDIATE", statement
        elif word == "SELECT":
            assert connection in begun, statement
    assert writes > 10


def _everything(core: Core) -> None:
    registration.register(core, email="ada@example.org", password=PASSWORD, actor=STRANGER)
    [message] = delivered(core)
    registration.activate(core, token=token_in(message), actor=STRANGER)
    an_admin(core)
    pair = logged_in(core)
    sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    maintenance.purge(core, actor=JOB)


# -- files that cannot serve


def _attempts(core: Core) -> list[str | None]:
    """What every way into the database says, one after the other."""

    def write() -> None:
        with core.write(wait=0.5) as tx:
            _put_job(tx.connection, "written")

    answers: list[str | None] = []
    for attempt in (
        lambda: migration.prepare(core),
        lambda: schema.require_current(core),
        lambda: keys.open_ring(core),
        write,
    ):
        try:
            attempt()
        except DatabaseUnavailable as error:
            answers.append(str(error))
        else:
            answers.append(None)
    return answers


def _flipped(content: bytes, where: slice) -> bytes:
    return content[: where.start] + bytes(byte ^ 0xFF for byte in content[where]) + content[where.stop :]


PAGE = 4096
DAMAGES = {
    "not a database": lambda content: b"These are the notes of the last meeting.\n" * 500,
    "flipped in the header": lambda content: _flipped(content, slice(0, 16)),
    "flipped in the first page": lambda content: _flipped(content, slice(100, 112)),
    "flipped in the schema": lambda content: content.replace(b"CREATE TABLE ", b"CREATE TUBLE "),
    "flipped in every other page": lambda content: b"".join(
        [content[:PAGE]]
        + [_flipped(content[at : at + PAGE], slice(0, 16)) for at in range(PAGE, len(content), PAGE)]
    ),
    "cut in half": lambda content: content[: len(content) // 2],
    "cut after a page": lambda content: content[:PAGE],
    "cut in the header": lambda content: content[:50],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_r28_a_damaged_file_is_refused_and_never_changed(data_dir: Path, damage: str) -> None:
    path = data_dir / "usersvc.db"
    damaged = DAMAGES[damage](path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    core = build(settings_for(data_dir))
    answers = _attempts(core)
    core.close()
    assert all(answer and ("damaged" in answer or "not a database" in answer) for answer in answers), answers
    assert path.read_bytes() == damaged
    assert sorted(found.name for found in data_dir.iterdir()) == ["secret.key", "usersvc.db"]


def test_r28_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "usersvc.db").mkdir(parents=True)
    core = build(settings_for(tmp_path / "data"))
    with pytest.raises(DatabaseUnavailable):
        migration.prepare(core)
    core.close()
    assert [found.name for found in (tmp_path / "data").iterdir()] == ["usersvc.db"]


def test_r28_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    core = build(settings_for(tmp_path / "file" / "data"))
    with pytest.raises(DatabaseUnavailable):
        migration.prepare(core)
    core.close()


def test_r28_a_file_in_the_place_of_the_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    core = build(settings_for(tmp_path / "data"))
    with pytest.raises(DatabaseUnavailable):
        migration.prepare(core)
    core.close()
    assert (tmp_path / "data").read_text() == "in the way"


# Run apart: as root nothing is read-only, so it becomes nobody first, with all modules loaded.
_READ_ONLY = """
import json, os, sqlite3, sys
from pathlib import Path
from typing import Any
from tests.conftest import settings_for
from tests.db.test_sqlite import NOBODY, _attempts
from usersvc.core import build
folder, warm, secret = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
warmed = build(settings_for(warm))
_attempts(warmed)
warmed.close()
if os.geteuid() == 0:
    os.setgid(NOBODY)
    os.setuid(NOBODY)
core = build(settings_for(folder, server__secret_key=secret))
answers = _attempts(core)
core.close()
print(json.dumps(answers))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in Path(name).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.process
@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["in a read-only folder", "in a folder"])
def test_r28_a_read_only_file_is_refused_and_stays_as_it_is(
    prepared: Path, tmp_path: Path, open_folder: Path, folder_mode: int
) -> None:
    folder = Path(shutil.copytree(prepared, open_folder / "data"))
    secret = (folder / "secret.key").read_text().strip()
    (folder / "secret.key").unlink()
    before = (folder / "usersvc.db").read_bytes()
    (folder / "usersvc.db").chmod(0o444)
    folder.chmod(folder_mode)
    warm = shutil.copytree(prepared, tmp_path / "warm")
    done = subprocess.run(
        [sys.executable, "-c", _READ_ONLY, str(folder), str(warm), secret],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    prepared_, _, _, written = json.loads(done.stdout.splitlines()[-1])
    assert prepared_
    assert "cannot be written" in prepared_
    assert written
    assert (folder / "usersvc.db").read_bytes() == before


# -- a full disk

_DISK_FULL = """
import json, resource, signal, sqlite3, sys
from pathlib import Path
from typing import Any
from sqlalchemy import text
from tests.conftest import settings_for
from usersvc.core import build
from usersvc.errors import DatabaseUnavailable
from usersvc.services import keys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
core = build(settings_for(folder))
keys.open_ring(core)

def put(name):
    with core.write() as tx:
        tx.connection.execute(
            text("INSERT INTO jobs (name, counts) VALUES (:n, :c)"), {"n": name, "c": json.dumps("x" * 9000)}
        )

def names():
    with core.read() as tx:
        return sorted(tx.connection.execute(text("SELECT name FROM jobs")).scalars())

acknowledged, refusals = [], []
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
for number in range(100):
    try:
        put(f"{number:03}")
        acknowledged.append(f"{number:03}")
    except DatabaseUnavailable as error:
        refusals.append([str(error), error.retry_after])
during = names()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put("later")
after = names()
core.close()
check = sqlite3.connect(folder / "usersvc.db").execute("PRAGMA integrity_check").fetchone()[0]
print(json.dumps([acknowledged, refusals, during, after, check]))
"""


@pytest.mark.process
def test_r15_a_full_disk_refuses_writes_serves_reads_and_is_over_when_there_is_room(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DISK_FULL, str(data_dir)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    acknowledged, refusals, during, after, check = json.loads(done.stdout.splitlines()[-1])
    assert acknowledged
    assert refusals
    assert all(message and retry_after for message, retry_after in refusals)
    assert during == acknowledged
    assert after == [*acknowledged, "later"]
    assert check == "ok"


def test_r15_a_full_database_inside_a_savepoint_is_unavailable_like_any_other(core: Core) -> None:
    """SQLite rolls the whole transaction back then, and there is no savepoint left to go back to."""

    def pages(tx_connection: Connection, most: int) -> None:
        tx_connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

    with pytest.raises(DatabaseUnavailable), core.write() as tx:
        pages(tx.connection, tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        for number in range(2000):
            tx.users.insert(_user(number, core))
    with core.write() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM users").scalar() == 0
        pages(tx.connection, 1_000_000)
        assert tx.users.insert(_user(1, core))


def _user(number: int, core: Core) -> User:
    now, email = core.clock.now(), f"user{number}@example.org"
    return User(
        id=new_id(now),
        email=email,
        email_key=email,
        email_verified_at=None,
        username=None,
        locale=None,
        role="user",
        status="pending",
        password_hash="$2b$" + "x" * 56,
        invited_at=None,
        registered_at=now,
        activated_at=None,
        deactivated_at=None,
        password_changed_at=None,
        last_login_at=None,
        created_at=now,
        updated_at=now,
    )


@pytest.mark.parametrize("name", ["a%20b", "q?x", "h#h", "sp ace", "ünï", "100%"])
def test_a_folder_may_have_any_name_and_the_file_is_in_it(tmp_path: Path, name: str) -> None:
    core = build(settings_for(tmp_path / name))
    migration.prepare(core)
    core.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert stat.S_IMODE((tmp_path / name / "usersvc.db").stat().st_mode) == 0o600
    assert (tmp_path / name / "usersvc.db").stat().st_size > 0


def test_what_is_in_the_log_is_moved_before_it_grew(core: Core, tmp_path: Path) -> None:
    """Else the commit that makes it long does that, whosever it is."""
    active(core)
    core.database.checkpoint(above_bytes=2**40)
    assert core.database.log_bytes > 0
    # The file alone, without its log.
    alone = shutil.copy(core.database.path, tmp_path / "alone.db")
    with closing(sqlite3.connect(alone)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
