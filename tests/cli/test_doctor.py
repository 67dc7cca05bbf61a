"""`doctor`: every fault put in for real is found as the only one, with what to do about it."""

import json
import os
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from alembic import command

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD
from tests.outbox import queue
from tests.processes import PATIENCE_SECONDS, USERSVC, Usersvc, eventually, free_port
from tests.smtp import MailServer, ca_file, certificate, mail_server
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.db.migrate import alembic_config
from usersvc.jobs.queue import make_queue
from usersvc.security import secret_key
from usersvc.services import health, keys

# The file, its neighbours, and what is wrong with them; of PostgreSQL: test_doctor_on_postgresql.py.
pytestmark = pytest.mark.sqlite

LOGIN = ("mailer", "right horse battery")
Row = dict[str, Any]
Execute = Callable[..., None]

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT * FROM users").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def well(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing is wrong, a worker seen just now."""
    run("migrate")
    run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    core = build(configuration.load())
    make_queue(core.settings).storage.close()
    health.beat(core)
    core.close()
    return folder


@pytest.fixture
def core(well: Path) -> Iterator[Core]:
    core = build(configuration.load())
    keys.open_ring(core)
    yield core
    core.close()


@pytest.fixture
def execute(well: Path) -> Execute:
    def execute(sql: str, *values: object) -> None:
        with closing(sqlite3.connect(well / "data" / "usersvc.db")) as connection, connection:
            assert connection.execute(sql, values).rowcount == 1

    return execute


def rows(run: Run, *, code: int) -> dict[str, Row]:
    found = {row["check"]: row for row in json.loads(run("doctor", "--json", code=code).stdout)}
    assert list(next(iter(found.values()))) == ["check", "state", "found", "remedy"]
    return found


def the_only(run: Run, check: str, *, state: str = "failed", code: int = 8) -> Row:
    """What was found of this check; all others are well, or could not be done for want of it."""
    found = rows(run, code=code)
    row = found.pop(check)
    assert row["state"] == state, row
    assert row["remedy"]
    assert {name: row for name, row in found.items() if row["state"] not in ("ok", "skipped")} == {}
    for row_besides in found.values():
        assert row_besides["remedy"] is None
        assert row_besides["found"].startswith("not checked: ") == (row_besides["state"] == "skipped")
    return row


def skipped(run: Run, *, code: int = 8) -> set[str]:
    return {name for name, row in rows(run, code=code).items() if row["state"] == "skipped"}


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def ago(**by: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(**by))


# -- nothing is wrong


def test_where_nothing_is_wrong_every_check_is_done_and_well(run: Run, well: Path) -> None:
    assert {row["state"] for row in rows(run, code=0).values()} == {"ok"}
    shown = run("doctor")
    assert "failed" not in shown.output
    assert "\x1b" not in shown.output


@pytest.mark.process
def test_while_it_serves_everything_is_well(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    with usersvc.serving():
        found = eventually(lambda: _all_well(usersvc))
        assert "seen" in {row["check"]: row for row in found}["worker"]["found"]
        assert usersvc.run("doctor").stdout.count(" ok ") == len(found)


def _all_well(usersvc: Usersvc) -> list[Row] | None:
    done = usersvc.run("doctor", "--json", check=None)
    found: list[Row] = json.loads(done.stdout)
    return found if done.returncode == 0 and {row["state"] for row in found} == {"ok"} else None


def test_it_makes_no_file_and_changes_none_but_for_the_row_of_the_write_probe(run: Run, well: Path) -> None:
    before = _contents(well)
    run("doctor")
    assert _contents(well) == before


def _contents(folder: Path) -> dict[str, bytes | list[str]]:
    """Every file; of the database what a dump of it says."""
    found: dict[str, bytes | list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "usersvc.db":
            with closing(sqlite3.connect(path)) as connection:
                found[path.name] = [line for line in connection.iterdump() if "readiness probe" not in line]
        elif path.is_file():
            found[str(path)] = path.read_bytes()
    return found


def test_in_an_empty_folder_it_says_so_and_makes_nothing(run: Run, folder: Path) -> None:
    row = the_only(run, "data directory")
    assert str(folder / "data") in row["found"]
    assert skipped(run) >= {
        "database",
        "integrity",
        "schema",
        "writing",
        "queue",
        "worker",
        "outbox",
        "webhooks",
        "clock",
    }
    assert list(folder.iterdir()) == []


# -- settings and files


def test_an_unknown_setting(run: Run, well: Path) -> None:
    (well / "usersvc.toml").write_text("[server]\nprot = 9000\n", encoding="utf-8")
    row = the_only(run, "settings", code=78)
    assert "server.prot: there is no such setting" in row["found"]
    assert skipped(run, code=78) == {"mail"}


def test_every_wrong_setting_has_its_row_and_nothing_is_sent_to_a_server_that_they_name(
    run: Run, well: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_LOG__LEVEL", "loud")
    monkeypatch.setenv("USERSVC_SERVER__WROKERS", "1")
    found = json.loads(run("doctor", "--json", code=78).stdout)
    assert [row["state"] for row in found if row["check"] == "settings"] == ["failed", "failed"]
    assert server.commands == []


def test_how_many_checks_failed_counts_a_check_once_whatever_is_found_of_it(run: Run, well: Path) -> None:
    (well / "usersvc.toml").write_text("[server]\nprot = 9000\nhots = 1\n", encoding="utf-8")
    assert "failed too" not in run("doctor", code=78).stderr
    (well / "data" / "queue.db").write_bytes(b"x" * 4096)
    said = run("doctor", code=78).stderr.splitlines()
    assert said[-4:-2] == ["1 of the other 18 checks failed too.", "These settings are wrong:"]
    (well / "usersvc.toml").write_text(
        '[throttle]\nenabled = false\n[server]\npublic_url = "http://users.example.org"\n', encoding="utf-8"
    )
    rows = json.loads(run("doctor", "--json", code=8).stdout)
    assert [row["check"] for row in rows].count("settings") > 1
    assert run("doctor", code=8).stderr.endswith("Error: 1 of 19 checks failed.\n")


def test_settings_that_leave_open_which_database_is_meant_let_nothing_else_be_checked(
    run: Run, well: Path
) -> None:
    (well / "usersvc.toml").write_text("[server]\ndata_dir = 5\n", encoding="utf-8")
    found = rows(run, code=78)
    assert found.pop("settings")["state"] == "failed"
    assert {row["found"] for row in found.values()} == {"not checked: wrong settings"}


def test_a_missing_secret_key(run: Run, well: Path) -> None:
    (well / "data" / "secret.key").unlink()
    assert "is missing" in the_only(run, "secret key")["found"]
    assert not (well / "data" / "secret.key").exists()
    assert skipped(run) == {"keys"}


def test_another_secret_key(run: Run, well: Path) -> None:
    path = well / "data" / "secret.key"
    path.unlink()
    secret_key.make(path)
    assert "not the secret key" in the_only(run, "keys")["found"]


def test_a_secret_key_that_others_can_read(run: Run, well: Path) -> None:
    path = well / "data" / "secret.key"
    path.chmod(0o644)
    assert f"chmod 600 {path}" in the_only(run, "secret key")["remedy"]


def test_a_data_directory_that_others_can_write_or_read(run: Run, well: Path) -> None:
    (well / "data").chmod(0o755)
    assert "look into" in the_only(run, "permissions", state="warning", code=0)["found"]
    (well / "data").chmod(0o777)
    assert "write" in the_only(run, "permissions")["found"]
    assert skipped(run) == set()


def test_a_data_directory_of_another_system_user_is_left_alone(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root gives the folder away; anybody else meets one that is root's already."""
    if os.geteuid() == 0:
        run("migrate")
        os.chown(folder / "data", 65534, 65534)
    else:
        monkeypatch.setenv("USERSVC_SERVER__DATA_DIR", "/usr")
    before = sorted(folder.rglob("*"))
    assert "sudo -u" in the_only(run, "data directory")["remedy"]
    assert {"database", "secret key", "queue", "worker"} <= skipped(run)
    assert sorted(folder.rglob("*")) == before


# -- the database


def test_a_missing_database(run: Run, well: Path) -> None:
    (well / "data" / "usersvc.db").unlink()
    row = the_only(run, "database")
    assert str(well / "data" / "usersvc.db") in row["found"]
    assert not (well / "data" / "usersvc.db").exists()


def test_an_older_schema(run: Run, core: Core) -> None:
    with core.write() as tx:
        command.downgrade(alembic_config(tx.connection), "-1")
    assert "usersvc migrate" in the_only(run, "schema")["remedy"]
    assert skipped(run) == {"keys", "clock", "writing", "worker", "outbox", "webhooks", "administrators"}


def test_a_newer_schema_and_none(run: Run, execute: Execute) -> None:
    execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in the_only(run, "schema")["found"]
    execute("DELETE FROM alembic_version")
    assert "no tables" in the_only(run, "schema")["found"]


def test_a_damaged_page(run: Run, well: Path) -> None:
    path = well / "data" / "usersvc.db"
    with closing(sqlite3.connect(path)) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sessions'")
        [(size,)] = connection.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xde\xad" * (size // 2))
    damaged = path.read_bytes()
    row = the_only(run, "integrity")
    assert "damaged" in row["found"]
    assert "backup" in row["remedy"]
    assert path.read_bytes() == damaged


def test_a_file_that_is_no_database(run: Run, well: Path) -> None:
    (well / "data" / "usersvc.db").write_bytes(b"this is a letter to my mother, not a database\n" * 200)
    assert "not a database" in the_only(run, "database")["found"]


@contextmanager
def held(path: Path, sql: str) -> Iterator[None]:
    """Another process has this database open, in a transaction that begins so."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), sql], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield


@pytest.mark.process
def test_a_database_that_another_process_writes_to_without_end(run: Run, well: Path) -> None:
    with held(well / "data" / "usersvc.db", "BEGIN IMMEDIATE"):
        row = the_only(run, "writing")
    assert "locked" in row["found"]
    assert "fuser" in row["remedy"]


@pytest.mark.process
def test_a_database_that_another_process_has_for_itself(run: Run, well: Path) -> None:
    with held(well / "data" / "usersvc.db", "PRAGMA locking_mode = EXCLUSIVE"):
        row = the_only(run, "database")
    assert "locked" in row["found"]
    assert "fuser" in row["remedy"]


@pytest.mark.process
def test_a_database_that_cannot_grow(run: Run, well: Path) -> None:
    """Under a limit on the size of files, which binds root too, while another process has it open."""
    with held(well / "data" / "usersvc.db", "BEGIN"):
        done = subprocess.run(
            ["/bin/sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *USERSVC, "doctor", "--json"],
            cwd=well,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert done.returncode == 8, done.stderr
    [row] = [row for row in json.loads(done.stdout) if row["check"] == "writing"]
    assert row["state"] == "failed"
    assert "writable" in row["remedy"]


def test_a_folder_in_the_place_of_the_database(run: Run, well: Path) -> None:
    (well / "data" / "usersvc.db").unlink()
    (well / "data" / "usersvc.db").mkdir(mode=0o700)
    assert "cannot be opened" in the_only(run, "database")["found"]


def test_a_database_file_of_another_system_user(
    run: Run, well: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite leaves them that was run as root; root itself gives one away."""
    if os.geteuid() == 0:
        os.chown(well / "data" / "usersvc.db", 65534, 65534)
    else:
        monkeypatch.setenv("USERSVC_DATABASE__URL", "sqlite:////etc/passwd")
    assert "belongs to" in the_only(run, "database")["found"]


def test_a_damaged_queue(run: Run, well: Path) -> None:
    path = well / "data" / "queue.db"
    path.write_bytes(b"x" * 4096)
    row = the_only(run, "queue")
    assert str(path) in row["found"]
    assert "delete it" in row["remedy"]
    path.unlink()
    assert rows(run, code=0)["queue"]["state"] == "ok"
    assert not path.exists()


# -- what goes on


def test_a_worker_that_was_not_seen_for_long(run: Run, execute: Execute) -> None:
    execute("UPDATE jobs SET finished_at = ? WHERE name = 'worker'", ago(minutes=4))
    row = the_only(run, "worker")
    assert row["found"].startswith("seen last 4 min ago")
    assert "usersvc worker" in row["remedy"]


def test_r30_no_worker_at_all(run: Run, execute: Execute) -> None:
    execute("DELETE FROM jobs WHERE name = 'worker'")
    assert "none was ever seen" in the_only(run, "worker")["found"]


def test_a_mail_that_nobody_takes(run: Run, core: Core, execute: Execute) -> None:
    queue(core)
    rows(run, code=0)
    execute("UPDATE outbox SET next_attempt_at = ?", ago(minutes=10))
    row = the_only(run, "outbox")
    assert row["found"] == "1 waiting, one of them overdue for 10 min"
    assert "usersvc outbox" in row["remedy"]


@pytest.mark.parametrize("status", ["dead", "failed"])
def test_mails_that_were_given_up(run: Run, core: Core, execute: Execute, status: str) -> None:
    queue(core)
    execute("UPDATE outbox SET status = ?", status)
    row = the_only(run, "outbox", state="warning", code=0)
    assert row["found"] == f"1 {status}, 0 waiting"
    assert f"usersvc outbox --status {status}" in row["remedy"]


def test_no_administrator(run: Run, execute: Execute) -> None:
    execute("UPDATE users SET role = 'user'")
    assert "create-admin" in the_only(run, "administrators", state="warning", code=0)["remedy"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jobs SET finished_at = ? WHERE name = 'worker'",
        "UPDATE audit SET at = ? WHERE action = 'secret.set'",
        "UPDATE keys SET created_at = ? WHERE use = 'link'",
    ],
)
def test_a_clock_that_went_back(run: Run, execute: Execute, sql: str) -> None:
    execute(sql, ago(hours=-2))
    row = the_only(run, "clock")
    assert "the database has seen" in row["found"]
    assert skipped(run) == {"worker", "outbox", "webhooks"}


def test_a_template_that_cannot_be_made(run: Run, well: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (well / "templates").mkdir(mode=0o755)
    (well / "templates" / "deactivated.txt").write_text("Subject\n\nOpen {{ link }}\n")
    monkeypatch.setenv("USERSVC_MAIL__TEMPLATES_DIR", "templates")
    row = the_only(run, "templates", state="warning", code=0)
    file = well / "templates" / "deactivated.txt"
    assert row["found"] == f"{file}:3: UndefinedError: 'link' is undefined"
    assert str(well / "templates") in row["remedy"]


# -- mail by SMTP


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the mail server."""

    def use(port: int, **values: object) -> None:
        given = {"transport": "smtp", "smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
        given |= {"from_address": "no-reply@example.org", **values}
        for name, value in given.items():
            monkeypatch.setenv(f"USERSVC_MAIL__{name.upper()}", str(value))

    return use


@pytest.fixture
def server(use: Callable[..., None]) -> Iterator[MailServer]:
    with mail_server(login=LOGIN) as server:
        use(server.port, smtp_username=LOGIN[0], smtp_password=LOGIN[1])
        yield server


def test_a_mail_server_that_is_well_gets_no_mail(run: Run, well: Path, server: MailServer) -> None:
    assert rows(run, code=0)["mail"]["found"] == f"127.0.0.1:{server.port}"
    assert server.commands == ["EHLO", "AUTH", "QUIT"]
    assert server.received == []


def test_a_closed_port(run: Run, well: Path, use: Callable[..., None]) -> None:
    port = free_port()
    use(port)
    row = the_only(run, "mail")
    assert row["found"] == f"no connection to 127.0.0.1:{port}: Connection refused"
    assert "mail.smtp_port" in row["remedy"]


def test_a_refused_login(run: Run, well: Path, server: MailServer) -> None:
    server.answers["AUTH"] = f"535 5.7.8 no, {LOGIN[1]} is wrong"
    row = the_only(run, "mail")
    assert "AUTH was answered with 535" in row["found"]
    assert "mail.smtp_password" in row["remedy"]
    assert LOGIN[1] not in json.dumps(row)


def test_a_server_without_starttls(
    run: Run, well: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_MAIL__SMTP_SECURITY", "starttls")
    row = the_only(run, "mail")
    assert "STARTTLS" in row["found"]
    assert "mail.smtp_security" in row["remedy"]
    assert "AUTH" not in server.commands


def test_a_certificate_that_is_not_trusted(run: Run, well: Path, use: Callable[..., None]) -> None:
    tls = certificate(trustme.CA(), "127.0.0.1")
    with mail_server(starttls=tls) as server:
        use(server.port, smtp_security="starttls")
        row = the_only(run, "mail")
    assert "CERTIFICATE_VERIFY_FAILED" in row["found"]
    assert "mail.smtp_ca_file" in row["remedy"]


@pytest.mark.parametrize(("days", "state"), [(13, "warning"), (16, "ok")])
def test_a_certificate_that_ends_soon(
    run: Run, well: Path, use: Callable[..., None], days: int, state: str
) -> None:
    authority = trustme.CA()
    tls: ssl.SSLContext = certificate(
        authority, "127.0.0.1", until=datetime.now(UTC) + timedelta(days=days, minutes=1)
    )
    with mail_server(tls=tls) as server:
        use(server.port, smtp_security="tls", smtp_ca_file=ca_file(authority, well))
        row = rows(run, code=0)["mail"]
    assert row["state"] == state
    assert f"{days} days" in row["found"]


# -- what a person sees


def test_the_remedy_stands_under_what_was_found_and_how_many_failed_on_stderr(run: Run, well: Path) -> None:
    (well / "data" / "secret.key").chmod(0o644)
    (well / "data" / "queue.db").write_bytes(b"x" * 4096)
    shown = run("doctor", code=8)
    lines = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    [at] = [number for number, line in enumerate(lines) if line[:2] == ["queue", "failed"]]
    assert lines[at + 1][0] == "->"
    assert shown.stderr.splitlines()[-1] == "Error: 2 of 19 checks failed."
