"""PostgreSQL's own programs: pg_dump writes a backup, pg_restore reads one.

Of the database only the tables of usersvc are in it: others in the same database are left alone. The address
goes to the programs in their environment: everybody on the machine can read a command line.
"""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection, inspect, make_url, text

from usersvc.configuration import environment_with
from usersvc.db.backups import Contents, Newest, problems_of_schema
from usersvc.db.models import metadata
from usersvc.db.schema import HEAD, revision, unmarked
from usersvc.errors import DatabaseInUse, DumpFailed, SchemaTooNew

_LOCK_WAIT = "--lock-wait-timeout=60000"
_COPY = re.compile(rb"COPY (?:\w+\.)?\"?(\w+)\"? \((.*)\) FROM stdin;")
_END_OF_COPY = b"\\.\n"
# What sets up a session of psql: ours has its own.
_OF_THE_SESSION = (b"--", b"\\", b"SET ", b"SELECT pg_catalog.set_config(")
_CREATED = re.compile(r"^; Archive created at (\S+ \S+) UTC$", re.MULTILINE)
_CHUNK = 64 * 1024


def back_up(url: str, to: Path, *, held: int, server_version: int) -> None:
    """A snapshot in pg_dump's custom format; nobody who writes waits for it.

    `held` is a descriptor that the program holds too, as long as it runs. Raises DumpFailed.
    """
    _require_new_enough(server_version)
    tables = [f"--table={name}" for name in (*metadata.tables, "alembic_version")]
    command = [
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        _LOCK_WAIT,
        f"--file={to}",
    ]
    _run("pg_dump", *command, *tables, environment=_environment(url), held=held)


def server_version(connection: Connection) -> int:
    """Its major number."""
    return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def contents(path: Path) -> Contents:
    """All of it is read and unpacked. Raises DumpFailed where there is no pg_restore."""
    _program("pg_restore")
    read = _Read()
    listed, damage = "", []
    try:
        listed = _run("pg_restore", "--list", str(path), environment={"TZ": "UTC"})
        with _script(path) as lines:
            for table, columns, row in _rows(lines):
                read.add(table, columns, row)
    except (DumpFailed, ValueError) as error:
        damage = [f"it is damaged: {error}"]
    newest = Newest.of(read.entries)
    found, _ = unmarked(read.of("alembic_version", "version_num"))
    return Contents(
        kind="postgresql",
        made_at=_made_at(listed) or newest.at,
        revision=found or None,
        secret_check=bytes.fromhex(read.of("instance", "secret_check").removeprefix("\\\\x")) or None,
        rows={name: read.rows[name] for name in metadata.tables},
        newest=newest,
        problems=damage or problems_of_schema(found or None),
    )


class _Read:
    """What is kept of the rows that go by: of the audit the newest ids alone, since it may be large."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.entries: list[UUID] = []
        self._only: dict[str, dict[str, str]] = {}
        self._most = 50_000

    def add(self, table: str, columns: list[str], row: bytes) -> None:
        """Raises ValueError for a row that is none of ours."""
        self.rows[table] += 1
        if table in ("alembic_version", "instance"):
            values = row.decode().rstrip("\n").split("\t")
            self._only[table] = dict(zip(columns, values, strict=True))
        elif table == "audit":
            self.entries.append(UUID(row.split(b"\t")[columns.index("id")].decode()))
            if len(self.entries) > self._most:
                self.entries = list(Newest.of(self.entries).ids)
                self._most = max(self._most, 2 * len(self.entries))

    def of(self, table: str, column: str) -> str:
        """In a table of one row; empty where there is none."""
        return self._only.get(table, {}).get(column, "")


def require_unused(connection: Connection) -> None:
    """Raises DatabaseInUse where another process of usersvc is connected, as far as this role may see."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND application_name IN ('usersvc', 'usersvc-queue')"
    )
    if count := connection.execute(others).scalar_one():
        raise DatabaseInUse(
            f"{count} connections of usersvc use the database: stop every `usersvc serve`, `usersvc worker` "
            "and command first."
        )


def load(connection: Connection, path: Path) -> None:
    """Put what is in a backup in the place of what the database holds, in this transaction.

    Raises DumpFailed; SchemaTooNew where a newer usersvc made what is there, whose tables are not all known.
    """
    there = revision(connection)
    if there and there.isdecimal() and there > HEAD:
        raise SchemaTooNew(
            "The database was made by a newer usersvc: restore into an empty one, or install that version."
        )
    ours = {*metadata.tables, "alembic_version"} & set(inspect(connection).get_table_names())
    if ours:
        connection.execute(text(f"DROP TABLE {', '.join(sorted(ours))} CASCADE"))
    cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with _script(path) as lines:
        _replay(cursor, lines)


def _replay(cursor: Any, lines: Iterator[bytes]) -> None:
    """A script for psql, run by our own connection, so that all of it is one transaction of ours."""
    statements: list[bytes] = []
    for line in lines:
        if _COPY.match(line):
            cursor.execute(b"".join(statements))
            statements.clear()
            with cursor.copy(line) as copy:
                for chunk in _chunks(lines):
                    copy.write(chunk)
        elif not line.startswith(_OF_THE_SESSION):
            statements.append(line)
    cursor.execute(b"".join(statements))


def _chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    rows: list[bytes] = []
    size = 0
    for row in iter(partial(next, lines, _END_OF_COPY), _END_OF_COPY):
        rows.append(row)
        size += len(row)
        if size > _CHUNK:
            yield b"".join(rows)
            rows, size = [], 0
    yield b"".join(rows)


def _rows(lines: Iterator[bytes]) -> Iterator[tuple[str, list[str], bytes]]:
    """The rows of all tables, as COPY writes them, with the names of their columns."""
    for line in lines:
        if found := _COPY.match(line):
            table = found[1].decode()
            columns = [name.strip('" ') for name in found[2].decode().split(",")]
            for row in iter(partial(next, lines, _END_OF_COPY), _END_OF_COPY):
                yield table, columns, row


@contextmanager
def _script(path: Path) -> Iterator[Iterator[bytes]]:
    """What pg_restore makes of a backup, line by line. Raises DumpFailed, at the end too."""
    program = _program("pg_restore")
    with tempfile.TemporaryFile() as said:
        command = [program, "--no-owner", "--no-privileges", "--file=-", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as running:  # noqa: S603 - ours
            assert running.stdout
            try:
                yield iter(running.stdout)
            except BaseException:
                running.kill()
                raise
        if running.returncode:
            raise _failed("pg_restore", said)


def _run(name: str, *arguments: str, environment: dict[str, str], held: int | None = None) -> str:
    """What it writes to its standard output."""
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(  # noqa: S603 - a fixed name and options, no shell
            [_program(name), *arguments],
            env=environment_with(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=[] if held is None else [held],
            check=False,
        )
        if done.returncode:
            raise _failed(name, said)
    return done.stdout.decode(errors="replace")


def _failed(name: str, said: IO[bytes]) -> DumpFailed:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    # The first says what, the others where.
    return DumpFailed(f"{lines[0] if lines else f'{name} failed and does not say why'}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise DumpFailed(
            f"There is no {name} on the PATH: install PostgreSQL's client programs, of the server's version "
            "or a newer one."
        )
    return found


def _require_new_enough(server: int) -> None:
    """It would say so itself, but not what to do."""
    told = _run("pg_dump", "--version", environment={})
    [own] = re.findall(r"\(PostgreSQL\) (\d+)", told) or ["0"]
    if int(own) < server:
        raise DumpFailed(
            f"{_program('pg_dump')} is of version {own}, and the server of version {server}: install client "
            f"programs of version {server} or a newer one, and put them first on the PATH."
        )


def _environment(url: str) -> dict[str, str]:
    """The address as libpq's own variables say it."""
    from psycopg.pq import Conninfo

    given = _parameters(url)
    if "sslpassword" in given:
        raise DumpFailed("sslpassword in database.url cannot be handed to pg_dump unseen: use a key without.")
    # What has none is of no matter here (keepalives).
    variables = {option.keyword.decode(): option.envvar for option in Conninfo.get_defaults()}
    return {named.decode(): value for name, value in given.items() if (named := variables.get(name))}


def _parameters(url: str) -> dict[str, str]:
    parsed = make_url(url)
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return {name: str(value) for name, value in arguments.items() if value is not None}


def _made_at(listed: str) -> datetime | None:
    found = _CREATED.search(listed)
    return datetime.fromisoformat(f"{found[1]}+00:00").astimezone(UTC) if found else None
