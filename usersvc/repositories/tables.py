"""Whole tables, whatever is in them: for copying a database."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, func, insert, literal, select, tuple_
from sqlalchemy.exc import DataError, IntegrityError

from usersvc.db.models import metadata
from usersvc.errors import RowRefused

# What another table points to comes before that one.
ALL = metadata.sorted_tables

Key = tuple[Any, ...]


def key_of(table: Table, row: Row[Any]) -> Key:
    return tuple(row._mapping[column] for column in table.primary_key)


class Tables:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, table: Table) -> int:
        return self._connection.execute(select(func.count()).select_from(table)).scalar_one()

    def after(self, table: Table, key: Key | None, *, limit: int) -> list[Row[Any]]:
        """The next rows in the order of their primary keys, which may be another one on another database."""
        columns = list(table.primary_key)
        found = select(table).order_by(*columns).limit(limit)
        if key:
            last = [literal(value, column.type) for value, column in zip(key, columns, strict=True)]
            found = found.where(tuple_(*columns) > tuple_(*last))
        return list(self._connection.execute(found))

    def key_at(self, table: Table, number: int) -> Key | None:
        """The key of the row with this number, from 1 on; None where there are fewer."""
        columns = list(table.primary_key)
        found = select(*columns).order_by(*columns).offset(number - 1).limit(1)
        row = self._connection.execute(found).first()
        return tuple(row) if row else None

    def insert(self, table: Table, rows: Sequence[Row[Any]]) -> None:
        """Raises RowRefused, which names the first row: where there are several, it may be another."""
        try:
            self._connection.execute(insert(table), [dict(row._mapping) for row in rows])
        except (IntegrityError, DataError) as error:
            # The lines after the first tell values.
            [reason, *_] = str(error.orig).splitlines() or [type(error).__name__]
            key = ", ".join(map(_shown, key_of(table, rows[0])))
            raise RowRefused(f"The row {key} of {table.name} cannot be copied: {reason}.") from error


def _shown(value: UUID | str | bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
