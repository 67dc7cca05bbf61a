"""The short way to one row: it gives what SQLAlchemy gives, and fails as it fails."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, bindparam, literal_column, select
from sqlalchemy.exc import DBAPIError

from tests.conftest import Make
from tests.factories import active, logged_in
from usersvc.core import Core
from usersvc.db.models import sessions, users
from usersvc.db.prepared import Prepared
from usersvc.security.secrets import new_id

# All types that the tables have.
_WHOLE = select(users, sessions).join_from(sessions, users).where(users.c.id == bindparam("user_id"))


def _both(connection: Connection, user_id: UUID) -> list[tuple[Any, ...] | None]:
    found = connection.execute(_WHOLE, {"user_id": user_id}).first()
    return [tuple(found) if found else None, Prepared(_WHOLE).first(connection, {"user_id": user_id})]


def test_a_row_is_what_sqlalchemy_makes_of_it(core: Core) -> None:
    account = active(core)
    logged_in(core)
    with core.glance() as tx:
        usual, short = _both(tx.connection, account.id)
    assert usual is not None
    assert usual == short
    assert [type(each) for each in usual] == [type(each) for each in short or ()]


def test_all_rows_are_what_sqlalchemy_makes_of_them(core: Core) -> None:
    account = active(core)
    asked, which = Prepared(_WHOLE), {"user_id": account.id}
    with core.glance() as tx:
        assert asked.all(tx.connection, which) == []
    for _ in range(2):
        logged_in(core)
    with core.glance() as tx:
        usual = [tuple(row) for row in tx.connection.execute(_WHOLE, which)]
        assert sorted(asked.all(tx.connection, which), key=str) == sorted(usual, key=str)
    assert len(usual) == 2


def test_no_row_is_none(core: Core) -> None:
    active(core)
    with core.glance() as tx:
        assert _both(tx.connection, new_id(tx.now)) == [None, None]


def test_one_statement_serves_every_engine_that_asks(make_core: Make) -> None:
    asked = Prepared(_WHOLE)
    cores = [make_core(), make_core()]
    account = active(cores[0])
    logged_in(cores[0])
    for core in cores:
        with core.glance() as tx:
            row = asked.first(tx.connection, {"user_id": account.id})
        assert row is not None
        assert row[0] == account.id


def test_what_the_database_refuses_is_an_error_of_sqlalchemys(core: Core) -> None:
    broken = Prepared(
        select(literal_column("nothing_of_this_name")).where(users.c.id == bindparam("user_id"))
    )
    with pytest.raises(DBAPIError, match="nothing_of_this_name"), core.read() as tx:
        broken.first(tx.connection, {"user_id": new_id(tx.now)})
