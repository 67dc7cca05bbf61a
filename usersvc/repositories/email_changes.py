"""Changes of address: asked for, confirmed, and for a while with a way back."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from usersvc.db.models import email_changes
from usersvc.repositories.purging import delete_some


@dataclass(frozen=True)
class EmailChange:
    id: UUID
    """Later changes of an account have higher ones: of those not confirmed, one lives at a time."""
    user_id: UUID
    new_email: str
    new_email_key: str
    session_id: UUID | None
    requested_at: datetime
    expires_at: datetime
    old_email: str | None = None
    old_email_key: str | None = None
    confirmed_at: datetime | None = None

    def is_pending(self, at: datetime) -> bool:
        return self.confirmed_at is None and self.expires_at > at

    def leads_back(self, at: datetime) -> bool:
        return self.confirmed_at is not None and self.expires_at > at


_COLUMNS = [email_changes.c[name] for name in EmailChange.__dataclass_fields__]
_LIVES = email_changes.c.expires_at > bindparam("b_at")
_OF_USER = email_changes.c.user_id == bindparam("b_user_id")
_BY_ID = select(*_COLUMNS).where(email_changes.c.id == bindparam("b_id"))
# Built once: every registration asks.
RESERVING = (
    select(*_COLUMNS)
    .where(email_changes.c.old_email_key == bindparam("b_email_key"), _LIVES)
    .order_by(email_changes.c.id.desc())
    .limit(1)
)
_RESERVING_FOR_ANOTHER = RESERVING.where(email_changes.c.user_id != bindparam("b_user_id"))
_FIRST_WAY_BACK = (
    select(*_COLUMNS)
    .where(_OF_USER, _LIVES, email_changes.c.confirmed_at >= bindparam("b_since"))
    .order_by(email_changes.c.id)
    .limit(1)
)
_UPDATE = update(email_changes).where(email_changes.c.id == bindparam("b_id"))
_END_PENDING = update(email_changes).where(_OF_USER, _LIVES, email_changes.c.confirmed_at.is_(None))
_LATER = select(email_changes.c.id).where(_OF_USER, _LIVES, email_changes.c.id > bindparam("b_id"))


class EmailChanges:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, change: EmailChange) -> None:
        self._connection.execute(insert(email_changes), vars(change))

    def by_id(self, change_id: UUID) -> EmailChange | None:
        return self._one(_BY_ID, b_id=change_id)

    def reserving(self, email_key: str, *, at: datetime) -> EmailChange | None:
        """The change that this address can still come back from, so that nobody else gets it."""
        return self._one(RESERVING, b_email_key=email_key, b_at=at)

    def reserving_for_another(self, email_key: str, user_id: UUID, *, at: datetime) -> EmailChange | None:
        return self._one(_RESERVING_FOR_ANOTHER, b_email_key=email_key, b_user_id=user_id, b_at=at)

    def reserved(self, email_keys: Collection[str], *, at: datetime) -> set[str]:
        """Those that an account gave up lately, and may have back."""
        columns = email_changes.c
        found = select(columns.old_email_key).where(
            columns.old_email_key.in_(email_keys), columns.expires_at > at
        )
        return set(self._connection.execute(found).scalars())

    def first_way_back(self, user_id: UUID, *, since: datetime, at: datetime) -> EmailChange | None:
        """Of the changes confirmed since then, the first one that can be undone."""
        return self._one(_FIRST_WAY_BACK, b_user_id=user_id, b_since=since, b_at=at)

    def last_way_back_ends(self, user_id: UUID) -> datetime | None:
        """From when on no change of this account can be undone; None where none was confirmed lately."""
        columns = email_changes.c
        last = select(func.max(columns.expires_at)).where(
            columns.user_id == user_id, columns.confirmed_at.is_not(None)
        )
        ends: datetime | None = self._connection.execute(last).scalar_one()
        return ends

    def confirm(
        self, change_id: UUID, *, old_email: str, old_email_key: str, at: datetime, expires_at: datetime
    ) -> None:
        values = {"old_email": old_email, "old_email_key": old_email_key, "confirmed_at": at}
        self._connection.execute(_UPDATE, {"b_id": change_id, "expires_at": expires_at, **values})

    def end(self, change_id: UUID, *, at: datetime) -> None:
        """From now on it can be neither confirmed nor undone."""
        self._connection.execute(_UPDATE, {"b_id": change_id, "expires_at": at})

    def end_pending(self, user_id: UUID, *, at: datetime) -> None:
        """Whatever waits to be confirmed."""
        self._connection.execute(_END_PENDING, {"b_user_id": user_id, "b_at": at, "expires_at": at})

    def later(self, change: EmailChange, *, at: datetime) -> list[UUID]:
        """What the account was changed to after this change, or was asked to be, and still lives."""
        values = {"b_user_id": change.user_id, "b_id": change.id, "b_at": at}
        return list(self._connection.execute(_LATER, values).scalars())

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(email_changes).where(email_changes.c.expires_at <= before)
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        done = email_changes.c.expires_at <= before
        return len(delete_some(self._connection, email_changes, done, limit=limit))

    def _one(self, statement: Select[Any], **values: Any) -> EmailChange | None:
        row = self._connection.execute(statement, values).first()
        return EmailChange(*row) if row else None
