"""Link tokens: single use, one purpose; the table holds nothing that opens a link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, or_, select, update

from usersvc.db.models import link_tokens
from usersvc.repositories.purging import delete_some


@dataclass(frozen=True)
class LinkToken:
    id: UUID
    user_id: UUID
    purpose: str
    key_id: str
    nonce: bytes
    digest: bytes
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None

    def lives(self, at: datetime) -> bool:
        return self.used_at is None and self.revoked_at is None and self.expires_at > at


_COLUMNS = [link_tokens.c[name] for name in LinkToken.__dataclass_fields__]


class LinkTokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, token_id: UUID) -> LinkToken | None:
        return self._one(link_tokens.c.id == token_id)

    def by_digest(self, digest: bytes, *purposes: str) -> LinkToken | None:
        """None also for a link of any other purpose."""
        return self._one((link_tokens.c.digest == digest) & link_tokens.c.purpose.in_(purposes))

    def living(self, user_id: UUID, purpose: str, *, at: datetime) -> LinkToken | None:
        found = self._one(
            (link_tokens.c.user_id == user_id)
            & (link_tokens.c.purpose == purpose)
            & link_tokens.c.used_at.is_(None)
            & link_tokens.c.revoked_at.is_(None)
        )
        return found if found and found.lives(at) else None

    def insert(self, token: LinkToken) -> None:
        self._connection.execute(insert(link_tokens).values(**vars(token)))

    def use(self, token_id: UUID, *, at: datetime) -> bool:
        """Spend the token. Of several who try, one gets True."""
        statement = (
            update(link_tokens)
            .where(
                link_tokens.c.id == token_id,
                link_tokens.c.used_at.is_(None),
                link_tokens.c.revoked_at.is_(None),
                link_tokens.c.expires_at > at,
            )
            .values(used_at=at)
        )
        return self._connection.execute(statement).rowcount == 1

    def revoke_all(self, user_id: UUID, *, at: datetime, purpose: str | None = None) -> int:
        """Kill the links of a user that were not used, all of them or those of one purpose."""
        conditions = [
            link_tokens.c.user_id == user_id,
            link_tokens.c.used_at.is_(None),
            link_tokens.c.revoked_at.is_(None),
        ]
        if purpose:
            conditions.append(link_tokens.c.purpose == purpose)
        return self._connection.execute(update(link_tokens).where(*conditions).values(revoked_at=at)).rowcount

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(link_tokens).where(self._done(before))
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, link_tokens, self._done(before), limit=limit))

    def _done(self, before: datetime) -> Any:
        return or_(
            link_tokens.c.expires_at <= before,
            link_tokens.c.used_at <= before,
            link_tokens.c.revoked_at <= before,
        )

    def _one(self, condition: Any) -> LinkToken | None:
        row = self._connection.execute(select(*_COLUMNS).where(condition)).first()
        return LinkToken(*row) if row else None
