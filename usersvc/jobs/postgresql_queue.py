"""Wake-ups in PostgreSQL: apart from storages.py, so that its dialect is loaded only where it is used."""

from contextlib import closing
from typing import Any

import psycopg
from huey.storage import PostgresStorage
from psycopg.conninfo import conninfo_to_dict

from usersvc.db.postgresql import ImpatientConnection
from usersvc.errors import DatabaseUnavailable
from usersvc.jobs.storages import Queue, close_shared
from usersvc.setting_types import without_password

# Any number that no other program on this database uses for its advisory locks.
_TABLES = 0x75736572_71756575


class PostgreSqlQueue(Queue, PostgresStorage):
    trouble = (psycopg.Error, OSError)

    def __init__(self, name: str, *, url: str, arguments: dict[str, Any]) -> None:
        """Connects to nothing yet. Raises DatabaseUnavailable where libpq cannot read the address."""
        self.address = without_password(url)
        try:
            conninfo_to_dict(self.address)
        except psycopg.Error as error:
            raise DatabaseUnavailable(self.explain(error)) from error
        try:
            conninfo_to_dict(url)
        except psycopg.Error:  # it repeats the password
            raise DatabaseUnavailable(
                f"The queue {self.address} has a password that libpq cannot read."
            ) from None
        super().__init__(
            name,
            connection=lambda: ImpatientConnection.connect(url, **arguments),
            create_tables=False,
        )

    def explain(self, error: Exception) -> str:
        # The ROLLBACK on a connection that broke hides why it broke.
        while isinstance(error.__context__, psycopg.Error):
            error = error.__context__
        return super().explain(error)

    def _create_connection(self) -> psycopg.Connection[Any]:
        """With the tables there: whoever comes first makes them, also after they were dropped."""
        connection: psycopg.Connection[Any] = super()._create_connection()
        try:
            if not self._has_tables(connection):
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_TABLES])
                    for statement in self.ddl:
                        connection.execute(statement)
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """What this thread has, and what all share; either is opened again where it is needed."""
        listening = getattr(self._listen_local, "conn", None)
        if listening:
            listening.close()
            self._listen_local.conn = None
        self.begin_anew()

    def begin_anew(self) -> None:
        close_shared(self)

    def try_out(self) -> str:
        """By a write that is taken back. Makes no tables."""
        with self.facts(), closing(self._connect()) as connection:
            if not self._has_tables(connection):
                return f"{self.address} has no tables for it yet; a worker makes them"
            with connection.transaction(force_rollback=True):
                connection.execute("INSERT INTO huey_task (queue, data) VALUES (%s, %s)", [self.name, b""])
        return f"{self.address} takes wake-ups"

    def _has_tables(self, connection: psycopg.Connection[Any]) -> bool:
        return connection.execute("SELECT to_regclass('huey_task')").fetchone() != (None,)
