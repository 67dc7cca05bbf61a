"""Accounts by what is asked for, in pages by keyset: each begins after the last row of the one before."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_, union_all

from usersvc.db.models import group_members, groups, sessions, users
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
    created_before: datetime | None = None
    created_from: datetime | None = None
    """The earliest."""
    idle_since: datetime | None = None
    """Last logged in before this; who never did was made before it."""
    group_id: UUID | None = None
    other_role: str | None = None
    """Any but this."""
    other_status: str | None = None
    in_session_at: datetime | None = None
    """With a session that lives at this time."""


@dataclass(frozen=True)
class Place:
    """Of the row after which a page begins."""

    value: datetime | str
    id: Any


@dataclass(frozen=True)
class Exported:
    """An account with all that is kept of it."""

    columns: Mapping[str, Any]
    """By the names of the table."""
    groups: Sequence[str]
    """Their names, sorted."""

    @property
    def place(self) -> Place:
        return Place(self.columns["created_at"], self.columns["id"])


class Directory:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, filters: Filters, *, sort: str, after: Place | None, limit: int) -> list[User]:
        """`sort` is `created_at` or `email`, with a hyphen before it from the last to the first."""
        found = self._found(select(*COLUMNS), filters).limit(limit)
        return [user_from(row) for row in self._connection.execute(_from_place(found, sort, after))]

    def exported(
        self, filters: Filters, *, but: Collection[str], after: Place | None, limit: int
    ) -> list[Exported]:
        """By `created_at`, without the columns `but`."""
        columns = [column for column in users.c if column.name not in but]
        found = self._found(select(*columns), filters).limit(limit)
        rows = self._connection.execute(_from_place(found, "created_at", after)).mappings().all()
        names = self._groups_of([row["id"] for row in rows])
        return [Exported(dict(row), names[row["id"]]) for row in rows]

    def count(self, filters: Filters) -> dict[str, int]:
        """How many there are of each status that there is."""
        counted = self._found(select(users.c.status, func.count()), filters).group_by(users.c.status)
        return {row[0]: row[1] for row in self._connection.execute(counted)}

    def matches(self, user_id: UUID, filters: Filters) -> bool:
        """Whether this account is still one of these."""
        found = select(users.c.id).where(users.c.id == user_id, *_conditions(filters))
        if filters.prefix:
            found = found.where(or_(*(_in_range(key, filters.prefix) for key in _KEYS)))
        return self._connection.execute(found).first() is not None

    def _groups_of(self, user_ids: Collection[UUID]) -> dict[UUID, list[str]]:
        named = (
            select(group_members.c.user_id, groups.c.name)
            .join_from(group_members, groups, groups.c.id == group_members.c.group_id)
            .where(group_members.c.user_id.in_(user_ids))
            .order_by(groups.c.name)
        )
        names: dict[UUID, list[str]] = defaultdict(list)
        for user_id, name in self._connection.execute(named):
            names[user_id].append(name)
        return names

    def _found(self, chosen: Select[Any], filters: Filters) -> Select[Any]:
        chosen = chosen.where(*_conditions(filters))
        return chosen.where(self._begins_with(filters.prefix)) if filters.prefix else chosen

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


def _is_in_group(group_id: UUID) -> ColumnElement[bool]:
    return users.c.id.in_(select(group_members.c.user_id).where(group_members.c.group_id == group_id))


def _is_in_session(at: datetime) -> ColumnElement[bool]:
    living = sessions.c.user_id == users.c.id, sessions.c.ended_at.is_(None), sessions.c.expires_at > at
    return select(sessions.c.id).where(*living).exists()


# All but the prefix, which is looked for in ways of its own.
_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "role": lambda role: users.c.role == role,
    "status": lambda status: users.c.status == status,
    "created_before": lambda at: users.c.created_at < at,
    "created_from": lambda at: users.c.created_at >= at,
    "idle_since": lambda at: func.coalesce(users.c.last_login_at, users.c.created_at) < at,
    "group_id": _is_in_group,
    "other_role": lambda role: users.c.role != role,
    "other_status": lambda status: users.c.status != status,
    "in_session_at": _is_in_session,
}


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    asked = [(condition, getattr(filters, name)) for name, condition in _CONDITIONS.items()]
    return [condition(value) for condition, value in asked if value]


def _in_range(key: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Begins with it: as a range, which an index serves and where no character is a wildcard."""
    return and_(key >= prefix, key < prefix + _HIGHEST)
