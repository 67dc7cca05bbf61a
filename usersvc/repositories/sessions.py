"""Sessions: one row each, however often it is refreshed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Update, bindparam, func, insert, or_, select, update

from usersvc.db.models import sessions, users
from usersvc.db.prepared import Prepared
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
    locale: str | None
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    profile: str | None
    attributes: str | None
    ended_at: datetime | None
    expires_at: datetime

    def lives(self, at: datetime) -> bool:
        return self.ended_at is None and self.expires_at > at


_COLUMNS = [sessions.c[name] for name in Session.__dataclass_fields__]
# Built once: to build them took longer than to run them. An UPDATE sets the columns that its values name.
_WITH_USER = Prepared(
    select(*USER_COLUMNS, *_COLUMNS)
    .join_from(sessions, users, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == bindparam("session_id"))
)
_OF_SESSION = ("ended_at", "expires_at")
BEARER = Prepared(
    select(*[(sessions if name in _OF_SESSION else users).c[name] for name in Bearer.__dataclass_fields__])
    .join_from(sessions, users, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == bindparam("session_id"))
)
_INSERT = insert(sessions)
_IS_OPEN = sessions.c.ended_at.is_(None)
_IS_IT = sessions.c.id == bindparam("b_id")
_OF_USER = sessions.c.user_id == bindparam("b_user_id"), sessions.c.expires_at > bindparam("b_at")
_LIVING = (
    select(*_COLUMNS)
    .where(*_OF_USER, _IS_OPEN)
    .order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
)
_ROTATE = Prepared(update(sessions).where(_IS_IT, sessions.c.seq == bindparam("b_seq"), _IS_OPEN))
_ANY_END = update(sessions).where(_IS_OPEN)
_END = _ANY_END.where(_IS_IT)
_END_ONE_OF = _ANY_END.where(_IS_IT, *_OF_USER)
_END_ALL = _ANY_END.where(*_OF_USER)
_SURPLUS = _LIVING.with_only_columns(sessions.c.id).offset(bindparam("b_keep"))
_END_BEYOND = _ANY_END.where(sessions.c.id.in_(_SURPLUS))


class Sessions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def bearer(self, session_id: UUID) -> Bearer | None:
        """One read of one joined row."""
        row = BEARER.first(self._connection, {"session_id": session_id})
        return Bearer(*row) if row else None

    def with_user(self, session_id: UUID) -> tuple[User, Session] | None:
        """The session and whose it is, whole."""
        row = _WITH_USER.first(self._connection, {"session_id": session_id})
        return (user_from(row), Session(*row[len(USER_COLUMNS) :])) if row else None

    def living(self, user_id: UUID, *, at: datetime) -> list[Session]:
        """The most recently used first."""
        found = self._connection.execute(_LIVING, {"b_user_id": user_id, "b_at": at})
        return [Session(*row) for row in found]

    def insert(self, session: Session) -> None:
        self._connection.execute(_INSERT, vars(session))

    def rotate(self, session_id: UUID, *, seq: int, at: datetime, expires_at: datetime) -> bool:
        """Take the step from `seq` to the next one; of several who try, one gets True."""
        values = {"seq": seq + 1, "rotated_at": at, "last_used_at": at, "expires_at": expires_at}
        return _ROTATE.rowcount(self._connection, {"b_id": session_id, "b_seq": seq, **values}) == 1

    def end(self, session_id: UUID, reason: str, *, at: datetime) -> bool:
        return self._end(_END, reason, at, b_id=session_id) == 1

    def end_one_of(self, user_id: UUID, session_id: UUID, reason: str, *, at: datetime) -> bool:
        """False where the user has no such living session."""
        return self._end(_END_ONE_OF, reason, at, b_id=session_id, b_user_id=user_id, b_at=at) == 1

    def end_all(self, user_id: UUID, reason: str, *, at: datetime) -> int:
        """Only what lives still counts; the rest ended by itself."""
        return self._end(_END_ALL, reason, at, b_user_id=user_id, b_at=at)

    def end_all_of_all(self, reason: str, *, at: datetime) -> int:
        """Everybody's."""
        living = update(sessions).where(sessions.c.ended_at.is_(None))
        return self._end(living, reason, at)

    def end_all_refreshed(self, since: datetime, until: datetime, reason: str, *, at: datetime) -> int:
        """Everybody's that were made or last refreshed within this time, up to `until` and without it."""
        living = update(sessions).where(
            sessions.c.ended_at.is_(None), sessions.c.rotated_at >= since, sessions.c.rotated_at < until
        )
        return self._end(living, reason, at)

    def is_any_refreshed_before(self, before: datetime, *, at: datetime) -> bool:
        """Whether a session lives that was made or last refreshed before."""
        living = sessions.c.ended_at.is_(None), sessions.c.expires_at > at, sessions.c.rotated_at < before
        return self._connection.execute(select(1).where(*living).limit(1)).first() is not None

    def end_beyond(self, user_id: UUID, keep: int, *, at: datetime) -> int:
        """End the least recently used sessions of a user, so that `keep` are left."""
        return self._end(_END_BEYOND, "too many sessions", at, b_user_id=user_id, b_at=at, b_keep=keep)

    def count_done_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(sessions).where(self._done(before))
        return self._connection.execute(counted).scalar_one()

    def delete_done_before(self, before: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, sessions, self._done(before), limit=limit))

    def _end(self, statement: Update, reason: str, at: datetime, **which: Any) -> int:
        values = {"ended_at": at, "end_reason": reason, **which}
        return self._connection.execute(statement, values).rowcount

    def _done(self, before: datetime) -> Any:
        return or_(sessions.c.ended_at < before, sessions.c.expires_at < before)
