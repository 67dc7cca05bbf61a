"""Pages of accounts by keyset: each begins after the last row of the one before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, tuple_

from usersvc.db.models import users
from usersvc.repositories.users import COLUMNS, User, user_from

# After every character that a key can hold.
_HIGHEST = "\U0010ffff"


@dataclass(frozen=True)
class Filters:
    prefix: str | None = None
    """Of the address or the username, in lower case as their keys are."""
    role: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class Place:
    """Of the row after which a page begins."""

    value: datetime | str
    id: Any


class Directory:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, filters: Filters, *, sort: str, after: Place | None, limit: int) -> list[User]:
        """`sort` is `created_at` or `email`, with a hyphen before it from the last to the first."""
        found = select(*COLUMNS).where(*_conditions(filters)).limit(limit)
        return [user_from(row) for row in self._connection.execute(_from_place(found, sort, after))]


def _from_place(found: Select[Any], sort: str, after: Place | None) -> Select[Any]:
    descending = sort.startswith("-")
    # An address is unique, a time is not: the id decides between two of the same moment.
    keys = [users.c.email_key] if sort.endswith("email") else [users.c.created_at, users.c.id]
    if after:
        columns = tuple_(*keys)
        values = (after.value, after.id)[: len(keys)]
        found = found.where(columns < values if descending else columns > values)
    return found.order_by(*[key.desc() if descending else key for key in keys])


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.prefix:
        begins = (_begins_with(key, filters.prefix) for key in (users.c.email_key, users.c.username_key))
        conditions.append(or_(*begins))
    if filters.role:
        conditions.append(users.c.role == filters.role)
    if filters.status:
        conditions.append(users.c.status == filters.status)
    return conditions


def _begins_with(key: Any, prefix: str) -> ColumnElement[bool]:
    """As a range, which an index serves and where no character is a wildcard."""
    return and_(key >= prefix, key < prefix + _HIGHEST)
