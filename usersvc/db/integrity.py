"""Whether a database file is whole, as SQLite itself checks it."""

import sqlite3
import time

from sqlalchemy import Connection

_MOST_PROBLEMS = 5
_STEPS_BETWEEN_LOOKS = 100_000


def problems(connection: Connection, *, seconds: float) -> list[str] | None:
    """What is wrong with tables and indexes, a line each, the first few; None where time was too short.

    Readers and writers go on meanwhile.
    """
    raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    end = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
    try:
        found = [str(row[0]) for row in raw.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        raw.set_progress_handler(None, 0)
    return [] if found == ["ok"] else found
