"""Accounts that were erased, and what is taken out of the other tables for it.

What points to an account goes with its row, by the foreign keys: sessions, links, networks, memberships.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Text, and_, cast, delete, func, or_, select, update

from usersvc.db.models import audit, erasures, outbox, users
from usersvc.db.types import insert_if_absent

# Their detail has a name of the target.
_NAMING = ("user.renamed",)


@dataclass(frozen=True)
class Erasure:
    user_id: UUID
    erased_at: datetime


_COLUMNS = [erasures.c.user_id, erasures.c.erased_at]


class Erasures:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, user_id: UUID) -> Erasure | None:
        row = self._connection.execute(select(*_COLUMNS).where(erasures.c.user_id == user_id)).first()
        return Erasure(*row) if row else None

    def among(self, ids: Collection[UUID]) -> set[UUID]:
        found = select(erasures.c.user_id).where(erasures.c.user_id.in_(ids))
        return set(self._connection.execute(found).scalars())

    def insert(self, erasure: Erasure) -> None:
        """One that is there stays, with its time."""
        insert_if_absent(self._connection, erasures, vars(erasure), on=["user_id"])

    def page(self, *, after: Erasure | None, limit: int) -> list[Erasure]:
        """The oldest first."""
        columns = erasures.c
        found = select(*_COLUMNS).order_by(columns.erased_at, columns.user_id).limit(limit)
        if after:
            later = columns.erased_at > after.erased_at
            same = and_(columns.erased_at == after.erased_at, columns.user_id > after.user_id)
            found = found.where(or_(later, same))
        return [Erasure(*row) for row in self._connection.execute(found)]

    def delete_user(self, user_id: UUID) -> None:
        self._connection.execute(delete(users).where(users.c.id == user_id))

    def delete_mails(self, user_id: UUID, *addresses: str) -> list[str]:
        """Mails to this account, whatever became of them, and what was asked for at its addresses.

        Returns the Message-IDs.
        """
        columns = outbox.c
        # What strangers ask for knows the address alone. Each by its index.
        asked = and_(columns.user_id.is_(None), columns.address.in_(addresses))
        found: list[str] = []
        for own in (columns.user_id == user_id, asked):
            deleted = delete(outbox).where(own).returning(columns.message_id)
            found += self._connection.execute(deleted).scalars()
        return found

    def blind_audit(self, user_id: UUID) -> None:
        """Leave of the entries about this account its id, what happened and when.

        Where it acted, or nobody knows who did, the network and what leads to log lines go; and what was
        done to it keeps no name and no address. That others acted, and from where, is told of them.
        """
        columns = audit.c
        # A job has the request of who asked for it, and that one's entry his network.
        unknown = columns.target_id == user_id, columns.actor_kind.in_(("anonymous", "job"))
        traces = {"ip": None, "request_id": None}
        self._connection.execute(update(audit).where(columns.actor_id == user_id).values(traces))
        self._connection.execute(update(audit).where(*unknown).values(traces))
        names = or_(columns.action.in_(_NAMING), cast(columns.detail, Text).contains("@"))
        self._connection.execute(update(audit).where(columns.target_id == user_id, names).values(detail={}))

    # -- accounts whose deletion has a date

    def schedule(self, user_id: UUID, due_at: datetime | None, *, at: datetime) -> None:
        """`due_at`: None where it stays."""
        values = {"deletion_due_at": due_at, "updated_at": at}
        self._connection.execute(update(users).where(users.c.id == user_id).values(values))

    def due(self, at: datetime, *, limit: int) -> list[UUID]:
        """The longest due first."""
        found = select(users.c.id).where(users.c.deletion_due_at <= at)
        ordered = found.order_by(users.c.deletion_due_at).limit(limit)
        return list(self._connection.execute(ordered).scalars())

    def count_due(self, at: datetime) -> int:
        counted = select(func.count()).select_from(users).where(users.c.deletion_due_at <= at)
        return self._connection.execute(counted).scalar_one()

    def put_off_due(self, *, until: datetime) -> int:
        """No account is to be deleted before this time; how many would have been."""
        sooner = update(users).where(users.c.deletion_due_at < until).values(deletion_due_at=until)
        return self._connection.execute(sooner).rowcount
