"""Link tokens: single use, one purpose; the table holds nothing that opens a link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, bindparam, func, insert, or_, select, update

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
    subject_id: UUID | None = None
    """What it is about beside the account: a change of address, a session."""

    def lives(self, at: datetime) -> bool:
        return self.used_at is None and self.revoked_at is None and self.expires_at > at


# A thief of the account could end these otherwise by what he changes; one account may have several.
LASTING = ("email_revert", "login_revoke")

_COLUMNS = [link_tokens.c[name] for name in LinkToken.__dataclass_fields__]
# Built once: to build them took longer than to run them. An UPDATE sets the columns that its values name.
_IS_OPEN = link_tokens.c.used_at.is_(None), link_tokens.c.revoked_at.is_(None)
_OF_USER = link_tokens.c.user_id == bindparam("b_user_id")
_FOR_PURPOSE = link_tokens.c.purpose == bindparam("b_purpose")
_BY_ID = select(*_COLUMNS).where(link_tokens.c.id == bindparam("id"))
_BY_DIGEST = select(*_COLUMNS).where(
    link_tokens.c.digest == bindparam("digest"),
    link_tokens.c.purpose.in_(bindparam("purposes", expanding=True)),
)
_OPEN = select(*_COLUMNS).where(_OF_USER, _FOR_PURPOSE, *_IS_OPEN)
_INSERT = insert(link_tokens)
_USE = update(link_tokens).where(
    link_tokens.c.id == bindparam("b_id"), *_IS_OPEN, link_tokens.c.expires_at > bindparam("b_at")
)
_ANY_OF_USER = update(link_tokens).where(_OF_USER, *_IS_OPEN)
_REVOKE_ALL = _ANY_OF_USER.where(link_tokens.c.purpose.not_in(LASTING))
_REVOKE_FOR_PURPOSE = _ANY_OF_USER.where(_FOR_PURPOSE)
_ABOUT = link_tokens.c.subject_id == bindparam("b_subject_id")
_OPEN_ABOUT = _OPEN.where(_ABOUT)
_REVOKE_ABOUT = _ANY_OF_USER.where(_ABOUT)


class LinkTokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, token_id: UUID) -> LinkToken | None:
        return self._one(_BY_ID, id=token_id)

    def by_digest(self, digest: bytes, *purposes: str) -> LinkToken | None:
        """None also for a link of any other purpose."""
        return self._one(_BY_DIGEST, digest=digest, purposes=purposes)

    def living(self, user_id: UUID, purpose: str, *, at: datetime) -> LinkToken | None:
        found = self._one(_OPEN, b_user_id=user_id, b_purpose=purpose)
        return found if found and found.lives(at) else None

    def about(self, user_id: UUID, purpose: str, subject_id: UUID, *, at: datetime) -> LinkToken | None:
        """The living one that is about this."""
        found = self._one(_OPEN_ABOUT, b_user_id=user_id, b_purpose=purpose, b_subject_id=subject_id)
        return found if found and found.lives(at) else None

    def revoke_about(self, user_id: UUID, subject_id: UUID, *, at: datetime) -> None:
        values = {"b_user_id": user_id, "b_subject_id": subject_id, "revoked_at": at}
        self._connection.execute(_REVOKE_ABOUT, values)

    def insert(self, token: LinkToken) -> None:
        self._connection.execute(_INSERT, vars(token))

    def use(self, token_id: UUID, *, at: datetime) -> bool:
        """Spend the token. Of several who try, one gets True."""
        return self._connection.execute(_USE, {"b_id": token_id, "b_at": at, "used_at": at}).rowcount == 1

    def revoke_all(self, user_id: UUID, *, at: datetime, purpose: str | None = None) -> int:
        """Kill the links of a user that were not used: all but the lasting ones, or those of one purpose."""
        values: dict[str, Any] = {"b_user_id": user_id, "revoked_at": at}
        if purpose:
            return self._connection.execute(_REVOKE_FOR_PURPOSE, {"b_purpose": purpose, **values}).rowcount
        return self._connection.execute(_REVOKE_ALL, values).rowcount

    def revoke_all_of_key(self, kid: str, *, at: datetime) -> int:
        """Kill everybody's links that were made with this key and were not used."""
        of_key = update(link_tokens).where(link_tokens.c.key_id == kid, *_IS_OPEN)
        return self._connection.execute(of_key, {"revoked_at": at}).rowcount

    def revoke_all_of_all(self, *, at: datetime) -> int:
        """Kill everybody's links that were not used."""
        return self._connection.execute(update(link_tokens).where(*_IS_OPEN), {"revoked_at": at}).rowcount

    def is_any_of_key(self, kid: str) -> bool:
        return (
            self._connection.execute(select(1).where(link_tokens.c.key_id == kid).limit(1)).first()
            is not None
        )

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

    def _one(self, statement: Select[Any], **key: Any) -> LinkToken | None:
        row = self._connection.execute(statement, key).first()
        return LinkToken(*row) if row else None
