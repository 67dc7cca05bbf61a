"""Groups, and the permissions that each gives its members."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from usersvc.db.models import group_permissions, groups, instance
from usersvc.db.types import insert_if_absent
from usersvc.errors import GroupNameTaken


@dataclass(frozen=True)
class Group:
    id: UUID
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


COLUMNS = [groups.c[name] for name in Group.__dataclass_fields__]


class Groups:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def hold(self) -> None:
        """No other transaction changes groups, their permissions or members before this one ends.

        One lock for all of them: how large the token of somebody gets depends on every group he is in.
        """
        self._connection.execute(select(instance.c.id).with_for_update())

    def by_id(self, group_id: UUID) -> Group | None:
        return self._one(groups.c.id == group_id)

    def by_name(self, name: str) -> Group | None:
        return self._one(groups.c.name == name)

    def count(self) -> int:
        return self._connection.execute(select(func.count()).select_from(groups)).scalar_one()

    def page(self, *, after: str | None, limit: int) -> list[Group]:
        """By name."""
        found = select(*COLUMNS).order_by(groups.c.name).limit(limit)
        if after is not None:
            found = found.where(groups.c.name > after)
        return [Group(*row) for row in self._connection.execute(found)]

    def permissions_of(self, group_ids: Collection[UUID]) -> dict[UUID, list[str]]:
        """Of each of these, sorted."""
        found = (
            select(group_permissions.c.group_id, group_permissions.c.permission)
            .where(group_permissions.c.group_id.in_(group_ids))
            .order_by(group_permissions.c.permission)
        )
        permissions: dict[UUID, list[str]] = {group_id: [] for group_id in group_ids}
        for group_id, permission in self._connection.execute(found):
            permissions[group_id].append(permission)
        return permissions

    def insert(self, group: Group) -> None:
        """Raises GroupNameTaken, the transaction goes on."""
        if not insert_if_absent(self._connection, groups, vars(group), on=["name"]):
            raise GroupNameTaken

    def update(self, group_id: UUID, **values: Any) -> None:
        """Raises GroupNameTaken, the transaction goes on."""
        changed = update(groups).where(groups.c.id == group_id).values(values)
        try:
            with self._connection.begin_nested():
                self._connection.execute(changed)
        except IntegrityError:
            raise GroupNameTaken from None

    def grant(self, group_id: UUID, permissions: Iterable[str]) -> None:
        """Those that it does not have yet."""
        rows = [{"group_id": group_id, "permission": permission} for permission in permissions]
        if rows:
            self._connection.execute(insert(group_permissions), rows)

    def withdraw(self, group_id: UUID, permissions: Collection[str]) -> None:
        gone = group_permissions.c.permission.in_(permissions)
        if permissions:
            self._connection.execute(
                delete(group_permissions).where(group_permissions.c.group_id == group_id, gone)
            )

    def delete(self, group_id: UUID) -> None:
        """With its permissions and memberships."""
        self._connection.execute(delete(groups).where(groups.c.id == group_id))

    def _one(self, condition: Any) -> Group | None:
        row = self._connection.execute(select(*COLUMNS).where(condition)).first()
        return Group(*row) if row else None
