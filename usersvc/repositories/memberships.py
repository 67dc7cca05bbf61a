"""Who is in which group, and what comes of it for a token."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, union, update

from usersvc.db.models import group_members, group_permissions, groups, users
from usersvc.db.prepared import Prepared
from usersvc.repositories.groups import COLUMNS, Group

_of_group = group_members.alias()
# Around each text in a list of JSON: two quotes and a comma.
_AROUND = 3


@dataclass(frozen=True)
class Member:
    user_id: UUID
    email: str
    username: str | None
    status: str
    manager: bool
    added_at: datetime


class Grants(NamedTuple):
    """What somebody has of the groups that he is in; each list sorted, without duplicates."""

    groups: list[str]
    permissions: list[str]


_MEMBER = [
    users.c.id,
    users.c.email,
    users.c.username,
    users.c.status,
    group_members.c.manager,
    group_members.c.added_at,
]
# Built once: every login and every refresh asks it.
GRANTS = Prepared(
    select(groups.c.name, group_permissions.c.permission)
    .join_from(group_members, groups, groups.c.id == group_members.c.group_id)
    .join(group_permissions, group_permissions.c.group_id == groups.c.id, isouter=True)
    .where(group_members.c.user_id == bindparam("user_id"))
)


class Memberships:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def grants_of(self, user_id: UUID) -> Grants:
        rows = GRANTS.all(self._connection, {"user_id": user_id})
        if not rows:
            return Grants([], [])
        names, permissions = ({row[place] for row in rows} - {None} for place in (0, 1))
        return Grants(sorted(names), sorted(permissions))

    def is_manager(self, group_id: UUID, user_id: UUID) -> bool | None:
        """Whether this member manages the group; None for who is no member."""
        found = select(group_members.c.manager).where(*_is_it(group_id, user_id))
        return self._connection.execute(found).scalar()

    def insert(self, group_id: UUID, user_id: UUID, *, manager: bool, at: datetime) -> None:
        values = {"group_id": group_id, "user_id": user_id, "manager": manager, "added_at": at}
        self._connection.execute(insert(group_members).values(values))

    def set_manager(self, group_id: UUID, user_id: UUID, manager: bool) -> None:
        self._connection.execute(
            update(group_members).where(*_is_it(group_id, user_id)).values(manager=manager)
        )

    def delete(self, group_id: UUID, user_id: UUID) -> None:
        self._connection.execute(delete(group_members).where(*_is_it(group_id, user_id)))

    def page(self, group_id: UUID, *, after: UUID | None, limit: int) -> list[Member]:
        """By the id of the account, that is from the oldest account to the newest."""
        found = (
            select(*_MEMBER)
            .join_from(group_members, users, users.c.id == group_members.c.user_id)
            .where(group_members.c.group_id == group_id)
            .order_by(group_members.c.user_id)
            .limit(limit)
        )
        if after is not None:
            found = found.where(group_members.c.user_id > after)
        return [Member(*row) for row in self._connection.execute(found)]

    def count(self, group_ids: Collection[UUID]) -> dict[UUID, int]:
        """How many members each of these has."""
        found = (
            select(group_members.c.group_id, func.count())
            .where(group_members.c.group_id.in_(group_ids))
            .group_by(group_members.c.group_id)
        )
        counted = dict.fromkeys(group_ids, 0)
        for group_id, number in self._connection.execute(found):
            counted[group_id] = number
        return counted

    def of(self, user_id: UUID) -> list[tuple[Group, bool]]:
        """The groups somebody is in, by name, and whether he manages each."""
        found = (
            select(*COLUMNS, group_members.c.manager)
            .join_from(group_members, groups, groups.c.id == group_members.c.group_id)
            .where(group_members.c.user_id == user_id)
            .order_by(groups.c.name)
        )
        return [(Group(*row[:-1]), row[-1]) for row in self._connection.execute(found)]

    def count_of(self, user_id: UUID) -> int:
        """In how many groups somebody is."""
        counted = select(func.count()).where(group_members.c.user_id == user_id)
        return self._connection.execute(counted).scalar_one()

    def is_beyond(self, most: int, user_id: UUID) -> bool:
        """Whether the groups of somebody, and their permissions, take more than `most` bytes of JSON."""
        return self._somebody_beyond(most, group_members.c.user_id == user_id)

    def a_member_is_beyond(self, most: int, group_id: UUID) -> bool:
        """Whether that is so for any member of this group: one statement, however many those are."""
        members = _of_group.c.user_id
        in_it = select(members).where(_of_group.c.group_id == group_id)
        return self._somebody_beyond(most, group_members.c.user_id.in_(in_it))

    def _somebody_beyond(self, most: int, concerned: ColumnElement[bool]) -> bool:
        candidates = select(_may_be_beyond(most, concerned).cte("candidates").c.user_id)
        words = union(*(words.where(group_members.c.user_id.in_(candidates)) for words in _WORDS)).subquery()
        beyond = (
            select(words.c.user_id).group_by(words.c.user_id).having(_bytes(words.c.word) > most).limit(1)
        )
        return self._connection.execute(beyond).first() is not None


# Each word that stands in the claims of somebody: those of two groups that are the same stand there once.
_WORDS = (
    select(group_members.c.user_id, groups.c.name.label("word")).join_from(
        group_members, groups, groups.c.id == group_members.c.group_id
    ),
    select(group_members.c.user_id, group_permissions.c.permission).join_from(
        group_members, group_permissions, group_permissions.c.group_id == group_members.c.group_id
    ),
)


def _may_be_beyond(most: int, concerned: ColumnElement[bool]) -> Any:
    """Who would be if no permission were given by two of his groups: found without looking at each of them.

    To sort every permission of a hundred thousand members takes seconds, to add up sizes of groups does not.
    """
    sizes = (
        select(group_permissions.c.group_id, _bytes(group_permissions.c.permission).label("bytes"))
        .group_by(group_permissions.c.group_id)
        .subquery()
    )
    size = func.length(groups.c.name) + _AROUND + func.coalesce(sizes.c.bytes, 0)
    return (
        select(group_members.c.user_id)
        .join_from(group_members, groups, groups.c.id == group_members.c.group_id)
        .join(sizes, sizes.c.group_id == groups.c.id, isouter=True)
        .where(concerned)
        .group_by(group_members.c.user_id)
        .having(func.sum(size) > most)
    )


def _bytes(text: ColumnElement[str]) -> ColumnElement[int]:
    """All are ASCII."""
    return func.sum(func.length(text) + _AROUND)


def _is_it(group_id: UUID, user_id: UUID) -> tuple[Any, ...]:
    return group_members.c.group_id == group_id, group_members.c.user_id == user_id
