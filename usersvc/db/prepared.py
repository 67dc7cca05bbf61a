"""Hot statements, without what SQLAlchemy does around each execution.

For what every request or refresh asks: SQLite needs a fifth of the time that SQLAlchemy spends on asking it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement


class Prepared:
    """A statement compiled once, and run on the driver's own connection.

    Values are converted as SQLAlchemy converts them, and the same errors come out: DBAPIError; a connection
    that broke is thrown away.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement
        self._compiled: _Compiled | None = None

    def first(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Of a SELECT, the first row."""
        compiled = self._for(connection.dialect, values)
        row = compiled.run(connection, values).fetchone()
        return compiled.converted(row) if row else None

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Of a SELECT, every row."""
        compiled = self._for(connection.dialect, values)
        return [compiled.converted(row) for row in compiled.run(connection, values).fetchall()]

    def rowcount(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Of what writes, how many rows it met."""
        count: int = self._for(connection.dialect, values).run(connection, values).rowcount
        return count

    def _for(self, dialect: Dialect, values: Mapping[str, Any]) -> "_Compiled":
        compiled = self._compiled
        # Each engine has a dialect of its own; what is compiled is the same on all of a kind.
        kind = type(dialect)
        if compiled is None or type(compiled.dialect) is not kind or compiled.names != values.keys():
            compiled = self._compiled = _Compiled(self.statement, dialect, values.keys())
        return compiled


class _Compiled:
    def __init__(self, statement: ClauseElement, dialect: Dialect, names: Collection[str]) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
        self.dialect = dialect
        self.names = set(names)
        self._sql = str(compiled)
        self._error: Any = dialect.loaded_dbapi.Error
        types = {name: bind.type.dialect_impl(dialect) for name, bind in compiled.binds.items()}
        self._by_position = compiled.positional
        self._binds = [
            (name, types[name].bind_processor(dialect))
            for name in (compiled.positiontup if compiled.positional else types)
        ]
        found = [column.type.dialect_impl(dialect) for column in getattr(statement, "selected_columns", ())]
        self._converters = [of.result_processor(dialect, None) for of in found]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The driver's cursor."""
        if not connection.in_transaction():
            connection.begin()  # as its first statement does
        driver: Any = connection.connection.driver_connection
        bound: Any = [bind(values[name]) if bind else values[name] for name, bind in self._binds]
        if not self._by_position:
            bound = {name: value for (name, _), value in zip(self._binds, bound, strict=True)}
        try:
            return driver.execute(self._sql, bound)
        except self._error as error:
            broke = self.dialect.is_disconnect(error, driver, None)
            if broke:
                connection.invalidate(error)
            raise DBAPIError.instance(
                self._sql,
                None,
                error,
                self._error,
                hide_parameters=True,
                connection_invalidated=broke,
                dialect=self.dialect,
            ) from error

    def converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            [convert(each) if convert else each for convert, each in zip(self._converters, row, strict=True)]
        )
