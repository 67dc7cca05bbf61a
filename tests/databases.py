"""PostgreSQL databases as the first start leaves them, each used by one test after the other."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.servers import PostgreSQL

# Whatever defines a table or a database writes a row of the catalogue; writing into a table does not.
_DEFINITIONS = """
SELECT md5(string_agg(row, ' ' ORDER BY row)) FROM (
    SELECT 'class' || oid || ' ' || xmin AS row FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'attribute' || attrelid || ' ' || attnum || ' ' || xmin FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    UNION ALL SELECT 'constraint' || oid || ' ' || xmin FROM pg_constraint
    UNION ALL SELECT 'trigger' || oid || ' ' || xmin FROM pg_trigger
    UNION ALL SELECT 'function' || oid || ' ' || xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'namespace' || oid || ' ' || xmin FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT 'setting' || setconfig::text FROM pg_db_role_setting
) AS definitions
"""
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Databases:
    """Copies of a template on one server. Who is done with one gives it back; it is emptied, or dropped."""

    def __init__(self, server: PostgreSQL, template: str) -> None:
        self.server = server
        self._template = template
        self._free: list[tuple[str, str]] = []
        """The name of each, and its definitions."""
        with self._connected(template) as connection:
            tables = connection.execute("SELECT relname FROM pg_stat_user_tables").fetchall()
            self._rows = {name: _copied(connection, name) for (name,) in tables}

    @contextmanager
    def one(self) -> Iterator[str]:
        """The name of a database that nobody else uses meanwhile."""
        name, definitions = self._free.pop() if self._free else self._new()
        yield name
        with self._connected(name) as connection:
            connection.execute(_END_OTHERS)
            unchanged = _definitions(connection) == definitions
            if unchanged:
                self._restore(connection)
        if unchanged:
            self._free.append((name, definitions))
        else:
            self.server.drop_database(name)

    def _new(self) -> tuple[str, str]:
        name = self.server.new_database(self._template)
        with self._connected(name) as connection:
            return name, _definitions(connection)

    def _connected(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.server.address(name), connect_timeout=5)

    def _restore(self, connection: psycopg.Connection) -> None:
        # Without their order: what refers to a row is not asked about it.
        connection.execute("SET LOCAL session_replication_role = replica")
        for name, rows in self._rows.items():
            connection.execute(f"DELETE FROM {name}".encode())
            if rows:
                with connection.cursor().copy(f"COPY {name} FROM STDIN".encode()) as copy:
                    copy.write(rows)


def _definitions(connection: psycopg.Connection) -> str:
    [found] = connection.execute(_DEFINITIONS).fetchone() or [""]
    return str(found)


def _copied(connection: psycopg.Connection, name: str) -> bytes:
    with connection.cursor().copy(f"COPY {name} TO STDOUT".encode()) as copy:
        return b"".join(bytes(part) for part in copy)
