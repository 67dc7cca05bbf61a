"""What one process, one machine and one PostgreSQL carry: the figures behind the plan in docs/operations.md.

Starts a real `usersvc serve` with its defaults, on SQLite and on PostgreSQL, and asks it as fast as it
answers, in turn and several times. The client runs on the same machine and takes its share of the cores.
Prints requests a second beside the bare `bcrypt.checkpw` of the same cores, and what a row weighs in
PostgreSQL.

    python -m bench.capacity
"""

import os
import platform
import secrets
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, create_engine, insert, text

from bench.hashes import bare_hashes
from bench.load import Answers, run
from bench.service import ACCOUNTS, LOG_IN, REFRESH, REGISTER, SHOW_ME, serving_accounts
from tests.servers import PostgreSQL, postgresql
from usersvc.db.models import audit, metadata, sessions, users
from usersvc.security.secrets import new_id

ROUNDS, SECONDS, ROWS = 3, 4.0, 20_000
QUESTIONS = (SHOW_ME, REFRESH, LOG_IN, REGISTER)


def _round(server: PostgreSQL) -> Iterator[tuple[tuple[str, int, str], Answers]]:
    """By database, processes and question."""
    for database in ("SQLite", "PostgreSQL"):
        for processes in (1, 2):
            with tempfile.TemporaryDirectory() as name:
                environ = {
                    "USERSVC_SERVER__DATA_DIR": name,
                    "USERSVC_SERVER__SECRET_KEY": secrets.token_hex(),
                }
                if database == "PostgreSQL":
                    environ["USERSVC_DATABASE__URL"] = server.address(server.new_database())
                    environ["USERSVC_MAIL__TRANSPORT"] = "file"
                with serving_accounts(environ, folder=Path(name), processes=processes) as port:
                    for question in QUESTIONS:
                        found = run(question, port=port, connections=ACCOUNTS, seconds=SECONDS)
                        yield (database, processes, question.name), found


def _weights(server: PostgreSQL) -> dict[str, float]:
    """Bytes of a row with its share of the indexes."""
    engine = create_engine(server.address(server.new_database()))
    metadata.create_all(engine)
    now = datetime.now(UTC)
    ids = [new_id(now + timedelta(seconds=number)) for number in range(ROWS)]
    rows: dict[Table, list[dict[str, Any]]] = {users: [], sessions: [], audit: []}
    for number, user_id in enumerate(ids):
        at = now + timedelta(seconds=number)
        email = f"somebody.{number}@mail.example.org"
        rows[users].append(
            {
                "id": user_id,
                "email": email,
                "email_key": email,
                "email_verified_at": at,
                "role": "user",
                "status": "active",
                "password_hash": "x" * 82,
                "registered_at": at,
                "activated_at": at,
                "password_changed_at": at,
                "last_login_at": at,
                "created_at": at,
                "updated_at": at,
            }
        )
        rows[sessions].append(
            {
                "id": new_id(at),
                "user_id": user_id,
                "seq": 1,
                "rnd_digest": secrets.token_bytes(32),
                "ip": "203.0.113.250",
                "user_agent": "x" * 110,
            }
            | dict.fromkeys(("rotated_at", "created_at", "last_used_at", "expires_at", "absolute_at"), at)
        )
        rows[audit].append(
            {
                "id": new_id(at),
                "at": at,
                "actor_kind": "user",
                "actor_id": user_id,
                "action": "session.started",
                "target_id": user_id,
                "ip": "203.0.113.250",
                "outcome": "ok",
                "request_id": "x" * 32,
                "detail": {"session": str(user_id)},
            }
        )
    found = {}
    with engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(insert(table), values)
            size = connection.scalar(text(f"SELECT pg_total_relation_size('{table.name}')"))
            found[table.name] = (size or 0) / ROWS
    engine.dispose()
    return found


def main() -> None:
    found: dict[tuple[str, int, str], list[tuple[Answers, float]]] = {}
    with postgresql(durable=True) as server:
        for _ in range(ROUNDS):
            bare = bare_hashes(2 * SECONDS)
            for key, answers in _round(server):
                found.setdefault(key, []).append((answers, answers.rate / bare))
        weights = _weights(server)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores shared with the client, {ROUNDS} rounds"
    )
    head = f"{'database':<12}{'processes':<11}{'question':<20}"
    print(f"{head}{'a second':>9}  {'spread':<13}{'p99 ms':>7}  of bcrypt")
    for (database, processes, question), rounds in found.items():
        rates = sorted(answers.rate for answers, _ in rounds)
        spread = f"{rates[0]:.0f}-{rates[-1]:.0f}"
        p99 = statistics.median(answers.p99 for answers, _ in rounds) * 1000
        ratio = statistics.median(ratio for _, ratio in rounds)
        print(
            f"{database:<12}{processes:<11}{question:<20}{statistics.median(rates):>9.1f}  {spread:<13}"
            f"{p99:>7.0f}  {ratio:>8.2f}"
        )
    print("bytes of a row in PostgreSQL:", ", ".join(f"{name} {size:.0f}" for name, size in weights.items()))


if __name__ == "__main__":
    main()
