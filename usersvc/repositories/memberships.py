"""Who is in which group, and what comes of it for a token."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from usersvc.db.models import group_members, group_permissions, groups, users
from usersvc.db.prepared import Prepared
from usersvc.repositories.groups import COLUMNS, Group


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


_of_group = group_members.alias()


def _bytes(text: ColumnElement[str]) -> ColumnElement[int]:
    """In a list of JSON, with two quotes and a comma; all are ASCII."""
    return func.length(text) + 3


_SIZES = (
    select(group_permissions.c.group_id, func.sum(_bytes(group_permissions.c.permission)).label("bytes"))
    .group_by(group_permissions.c.group_id)
    .subquery()
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
        """Whether the groups of somebody, and their permissions, take more than `most` bytes of JSON.

        A permission counts for each group that gives it: to find those that are the same among all that a
        hundred thousand members have takes half a minute, to add up sizes of groups a third of a second.
        """
        return self._somebody_beyond(most, group_members.c.user_id == user_id)

    def a_member_is_beyond(self, most: int, group_id: UUID) -> bool:
        """Whether that is so for any member of this group: one statement, however many those are."""
        members = _of_group.c.user_id
        in_it = select(members).where(_of_group.c.group_id == group_id)
        return self._somebody_beyond(most, group_members.c.user_id.in_(in_it))

    def _somebody_beyond(self, most: int, concerned: ColumnElement[bool]) -> bool:
        beyond = (
            select(group_members.c.user_id)
            .join_from(group_members, groups, groups.c.id == group_members.c.group_id)
            .join(_SIZES, _SIZES.c.group_id == groups.c.id, isouter=True)
            .where(concerned)
            .group_by(group_members.c.user_id)
            .having(func.sum(_bytes(groups.c.name) + func.coalesce(_SIZES.c.bytes, 0)) > most)
            .limit(1)
        )
        return self._connection.execute(beyond).first() is not None


def _is_it(group_id: UUID, user_id: UUID) -> tuple[Any, ...]:
    return group_members.c.group_id == group_id, group_members.c.user_id == user_id
