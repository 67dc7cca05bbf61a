"""Sessions: one row each, however often it is refreshed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from usersvc.db.models import sessions, users
from usersvc.repositories.purging import delete_some
from usersvc.repositories.users import COLUMNS as USER_COLUMNS
from usersvc.repositories.users import User, user_from


@dataclass(frozen=True)
class Session:
    id: UUID
    user_id: UUID
    seq: int
    rnd_digest: bytes
    rotated_at: datetime
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    absolute_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    ip: str | None
    user_agent: str | None

    def lives(self, at: datetime) -> bool:
        return self.ended_at is None and self.expires_at > at


@dataclass(frozen=True)
class Bearer:
    """Whose a session is, and whether it lives: no more than every authenticated request needs."""

    id: UUID
    """Of the account."""
    email: str
    email_verified_at: datetime | None
    username: str | None
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime

    def lives(self, at: datetime) -> bool:
        return self.ended_at is None and self.expires_at > at


_COLUMNS = [sessions.c[name] for name in Session.__dataclass_fields__]
# Built once: to build it took longer than to run it.
_WITH_USER = (
    select(*USER_COLUMNS, *_COLUMNS)
    .join_from(sessions, users, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == bindparam("session_id"))
)
_OF_SESSION = ("ended_at", "expires_at")
_BEARER = (
    select(*[(sessions if name in _OF_SESSION else users).c[name] for name in Bearer.__dataclass_fields__])
    .join_from(sessions, users, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == bindparam("session_id"))
)


class Sessions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def bearer(self, session_id: UUID) -> Bearer | None:
        """One read of one joined row."""
        row = self._connection.execute(_BEARER, {"session_id": session_id}).first()
        return Bearer(*row) if row else None

    def with_user(self, session_id: UUID) -> tuple[User, Session] | None:
        """The session and whose it is, whole."""
        row = self._connection.execute(_WITH_USER, {"session_id": session_id}).first()
        return (user_from(row), Session(*row[len(USER_COLUMNS) :])) if row else None

    def living(self, user_id: UUID, *, at: datetime) -> list[Session]:
        """The most recently used first."""
        found = (
            select(*_COLUMNS)
            .where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), sessions.c.expires_at > at)
            .order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
        )
        return [Session(*row) for row in self._connection.execute(found)]

    def insert(self, session: Session) -> None:
        self._connection.execute(insert(sessions).values(**vars(session)))

    def rotate(self, session_id: UUID, *, seq: int, at: datetime, expires_at: datetime) -> bool:
        """Take the step from `seq` to the next one; of several who try, one gets True."""
        statement = (
            update(sessions)
            .where(sessions.c.id == session_id, sessions.c.seq == seq, sessions.c.ended_at.is_(None))
            .values(seq=seq + 1, rotated_at=at, last_used_at=at, expires_at=expires_at)
        )
        return self._connection.execute(statement).rowcount == 1

    def end(self, session_id: UUID, reason: str, *, at: datetime) -> bool:
        return self._end(sessions.c.id == session_id, reason, at) == 1

    def end_one_of(self, user_id: UUID, session_id: UUID, reason: str, *, at: datetime) -> bool:
        """False where the user has no such living session."""
        own = (sessions.c.id == session_id) & (sessions.c.user_id == user_id) & (sessions.c.expires_at > at)
        return self._end(own, reason, at) == 1

    def end_all(self, user_id: UUID, reason: str, *, at: datetime) -> int:
        """Only what lives still counts; the rest ended by itself."""
        return self._end((sessions.c.user_id == user_id) & (sessions.c.expires_at > at), reason, at)

    def end_beyond(self, user_id: UUID, keep: int, *, at: datetime) -> int:
        """End the least recently used sessions of a user, so that `keep` are left."""
        surplus = (
            select(sessions.c.id)
            .where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), sessions.c.expires_at > at)
            .order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
            .offset(keep)
        )
        return self._end(sessions.c.id.in_(surplus), "too many sessions", at)

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(sessions).where(self._done(before))
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, sessions, self._done(before), limit=limit))

    def _end(self, condition: Any, reason: str, at: datetime) -> int:
        statement = (
            update(sessions)
            .where(condition, sessions.c.ended_at.is_(None))
            .values(ended_at=at, end_reason=reason)
        )
        return self._connection.execute(statement).rowcount

    def _done(self, before: datetime) -> Any:
        return or_(sessions.c.ended_at < before, sessions.c.expires_at < before)
