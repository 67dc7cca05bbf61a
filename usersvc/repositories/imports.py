"""Many accounts at once, and how far each import came."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from usersvc.db.models import group_members, imports, users
from usersvc.db.types import insert_each_if_absent, insert_if_absent
from usersvc.errors import UsernameTaken
from usersvc.repositories.users import COLUMNS, User, user_from


@dataclass(frozen=True)
class Progress:
    digest: bytes
    """Of what is imported and how."""
    records: int
    """Settled so far: imported, updated, skipped or refused."""
    line: int
    """Where the last of them ended."""
    imported: int
    updated: int
    skipped: int
    refused: int
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


_COLUMNS = [imports.c[name] for name in Progress.__dataclass_fields__]


class Imports:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, digest: bytes) -> Progress | None:
        row = self._connection.execute(select(*_COLUMNS).where(imports.c.digest == digest)).first()
        return Progress(*row) if row else None

    def advance(self, progress: Progress, *, before: int) -> bool:
        """False where it does not stand at `before` records any more, as another process goes on with it."""
        if before == 0 and insert_if_absent(self._connection, imports, vars(progress), on=["digest"]):
            return True
        moved = update(imports).where(imports.c.digest == progress.digest, imports.c.records == before)
        return self._connection.execute(moved.values(vars(progress))).rowcount == 1

    def forget(self, digest: bytes) -> None:
        self._connection.execute(delete(imports).where(imports.c.digest == digest))

    def insert_users(self, rows: list[dict[str, Any]]) -> set[UUID]:
        """The ids of those that went in: of an address, a held username or an id, nobody has two."""
        return insert_each_if_absent(self._connection, users, rows) if rows else set()

    def delete_users(self, ids: Collection[UUID]) -> None:
        if ids:
            self._connection.execute(delete(users).where(users.c.id.in_(ids)))

    def holders(self, email_keys: Collection[str]) -> dict[str, User]:
        """The accounts under these addresses, which no other transaction changes before this one ends."""
        found = select(*COLUMNS).where(users.c.email_key.in_(email_keys)).order_by(users.c.id)
        return {
            user.email_key: user for user in map(user_from, self._connection.execute(found.with_for_update()))
        }

    def taken_ids(self, ids: Collection[UUID]) -> set[UUID]:
        return set(self._connection.execute(select(users.c.id).where(users.c.id.in_(ids))).scalars())

    def replace_pending(self, user_id: UUID, values: dict[str, Any]) -> None:
        """What a stranger registered becomes this account. Raises UsernameTaken, the transaction goes on."""
        try:
            with self._connection.begin_nested():
                self._connection.execute(update(users).where(users.c.id == user_id).values(values))
        except IntegrityError:
            raise UsernameTaken from None

    def insert_members(self, pairs: Collection[tuple[UUID, UUID]], *, at: datetime) -> None:
        """Of groups and users, in this order."""
        rows = [
            {"group_id": group_id, "user_id": user_id, "manager": False, "added_at": at}
            for group_id, user_id in pairs
        ]
        if rows:
            self._connection.execute(insert(group_members), rows)
