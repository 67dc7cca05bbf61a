"""The JSON objects of accounts, apart from their rows: most that reads a user needs neither."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, bindparam, or_, select, update

from usersvc.db.models import users

What = Literal["profile", "attributes"]


@dataclass(frozen=True)
class Kept:
    """What is kept of one account, JSON text each; None where nothing is."""

    id: UUID
    email: str
    profile: str | None
    attributes: str | None


_COLUMNS = [users.c[name] for name in Kept.__dataclass_fields__]
_OF = select(*_COLUMNS).where(users.c.id == bindparam("id"))
_UPDATE = update(users).where(users.c.id == bindparam("b_id"))


class Profiles:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, user_id: UUID) -> Kept:
        """Of an account that is there."""
        return Kept(*self._connection.execute(_OF, {"id": user_id}).one())

    def write(self, user_id: UUID, what: What, text: str | None, *, at: datetime) -> None:
        self._connection.execute(_UPDATE, {"b_id": user_id, what: text, "updated_at": at})

    def page(self, *, after: UUID | None, limit: int) -> list[Kept]:
        """Accounts of which something is kept, in the order of their ids."""
        found = select(*_COLUMNS).where(or_(users.c.profile.is_not(None), users.c.attributes.is_not(None)))
        if after:
            found = found.where(users.c.id > after)
        return [Kept(*row) for row in self._connection.execute(found.order_by(users.c.id).limit(limit))]
