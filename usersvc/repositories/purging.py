"""Rows deleted a batch at a time, whatever the database knows of its tables."""

from typing import Any

from sqlalchemy import Connection, Row, Table, delete, select, tuple_


def delete_some(connection: Connection, table: Table, *conditions: Any, limit: int) -> list[Row[Any]]:
    """Delete at most `limit` rows that meet the conditions; their primary keys.

    Chosen first: a subquery with a limit PostgreSQL may run anew for every row of the table, and does where
    it has no statistics. The conditions stand in the DELETE too: who meets them no longer stays.
    """
    key = list(table.primary_key.columns)
    chosen = connection.execute(select(*key).where(*conditions).limit(limit)).all()
    if not chosen:
        return []
    same = tuple_(*key).in_(chosen) if len(key) > 1 else key[0].in_([row[0] for row in chosen])
    return list(connection.execute(delete(table).where(same, *conditions).returning(*key)))
