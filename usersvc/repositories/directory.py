"""Pages of accounts by keyset: each begins after the last row of the one before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, tuple_, union_all

from usersvc.db.models import users
from usersvc.repositories.users import COLUMNS, User, user_from

# After every character that a key can hold.
_HIGHEST = "\U0010ffff"
# So many accounts are found by the indexes of their keys, then sorted. Where a prefix begins more, walking
# through all accounts in the order of the list soon meets a page of them.
_FEW = 1000
_KEYS = (users.c.email_key, users.c.username_key)


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
        if filters.prefix:
            found = found.where(self._begins_with(filters.prefix))
        return [user_from(row) for row in self._connection.execute(_from_place(found, sort, after))]

    def _begins_with(self, prefix: str) -> ColumnElement[bool]:
        matches = union_all(*(select(users.c.id).where(_in_range(key, prefix)) for key in _KEYS))
        found = self._connection.execute(matches.limit(_FEW + 1)).scalars().all()
        if len(found) <= _FEW:
            return users.c.id.in_(found)
        # Appending nothing keeps the database from collecting and sorting them all by an index.
        return or_(*(_in_range(key.concat(""), prefix) for key in _KEYS))


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
    if filters.role:
        conditions.append(users.c.role == filters.role)
    if filters.status:
        conditions.append(users.c.status == filters.status)
    return conditions


def _in_range(key: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Begins with it: as a range, which an index serves and where no character is a wildcard."""
    return and_(key >= prefix, key < prefix + _HIGHEST)
