"""Fixtures: one folder with usersvc in it, and a look into its database."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE_SECONDS, Usersvc


@pytest.fixture
def usersvc(tmp_path: Path) -> Usersvc:
    return Usersvc(tmp_path)


@pytest.fixture
def rows(usersvc: Usersvc) -> Iterator:
    """Look into the database beside the running processes."""

    def query(sql: str, *values: object) -> list[tuple]:
        connection = sqlite3.connect(usersvc.database, timeout=PATIENCE_SECONDS)
        try:
            found = connection.execute(sql, values).fetchall()
            connection.commit()
            return found
        finally:
            connection.close()

    return query
