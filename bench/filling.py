"""As many users and ended sessions as an instance has after years, in minutes.

python -m bench.filling 1000000 data/usersvc.db
"""

import argparse
import itertools
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
from sqlalchemy import Connection, Table, create_engine, insert

from bench.contender import COST, PASSWORD
from usersvc.db.models import sessions, users
from usersvc.security.secrets import new_id

_AT_ONCE = 10_000
Rows = Iterator[dict[str, Any]]


def fill(path: Path, number: int, *, ended_days: int = 1) -> None:
    """b0@example.org and so on, the first an administrator, one ended session each; one password for all.

    Into a database that has the schema and no such users. Nobody may use it meanwhile.
    """
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
    now = datetime.now(UTC)
    engine = create_engine(f"sqlite:///{path}")
    ids = [new_id(now - timedelta(days=400) + timedelta(seconds=each)) for each in range(number)]
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        _insert(connection, users, _users(ids, hashed, now - timedelta(days=400)))
        _insert(connection, sessions, _sessions(ids, now - timedelta(days=ended_days)))
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _insert(connection: Connection, table: Table, rows: Rows) -> None:
    while batch := list(itertools.islice(rows, _AT_ONCE)):
        connection.execute(insert(table), batch)


def _users(ids: list[Any], hashed: str, since: datetime) -> Rows:
    for number, user_id in enumerate(ids):
        email = f"b{number}@example.org"
        at = since + timedelta(seconds=number)
        yield {
            "id": user_id,
            "email": email,
            "email_key": email,
            "role": "user" if number else "admin",
            "status": "active",
            "password_hash": hashed,
        } | dict.fromkeys(
            (
                "email_verified_at",
                "registered_at",
                "activated_at",
                "password_changed_at",
                "last_login_at",
                "created_at",
                "updated_at",
            ),
            at,
        )


def _sessions(ids: list[Any], ended_at: datetime) -> Rows:
    for number in range(len(ids)):
        # Not in the order of the users: nobody comes back in the order in which he came.
        began = ended_at - timedelta(days=1, seconds=number)
        yield {
            "id": new_id(began),
            "user_id": ids[number * 7919 % len(ids)],
            "seq": 3,
            "rnd_digest": secrets.token_bytes(32),
            "ip": "203.0.113.250",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "expires_at": began + timedelta(days=14),
            "absolute_at": began + timedelta(days=30),
            "ended_at": ended_at,
            "end_reason": "logged_out",
        } | dict.fromkeys(("rotated_at", "created_at", "last_used_at"), began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("database", type=Path)
    given = parser.parse_args()
    began = time.monotonic()
    fill(given.database, given.number)
    print(f"{given.number:,} users and as many ended sessions in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
