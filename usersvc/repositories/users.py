"""Accounts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from usersvc.db.models import link_tokens, users
from usersvc.db.types import insert_if_absent
from usersvc.errors import UsernameTaken


@dataclass(frozen=True)
class User:
    id: UUID
    email: str
    email_key: str
    email_verified_at: datetime | None
    username: str | None
    role: str
    status: str
    password_hash: str | None
    invited_at: datetime | None
    registered_at: datetime | None
    activated_at: datetime | None
    deactivated_at: datetime | None
    password_changed_at: datetime | None
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime


COLUMNS = [users.c[name] for name in User.__dataclass_fields__]


class Users:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, user_id: UUID) -> User | None:
        return self._one(users.c.id == user_id)

    def by_email_key(self, email_key: str) -> User | None:
        return self._one(users.c.email_key == email_key)

    def by_username_key(self, username_key: str) -> User | None:
        """Among the accounts that hold their username: those that were ever active."""
        return self._one((users.c.username_key == username_key) & users.c.activated_at.is_not(None))

    def there_is_an_active_admin(self) -> bool:
        found = select(users.c.id).where(users.c.role == "admin", users.c.status == "active").limit(1)
        return self._connection.execute(found).first() is not None

    def insert(self, user: User) -> bool:
        """False where the address is taken. Raises UsernameTaken, the transaction goes on."""
        values = {**vars(user), "username_key": user.username}
        try:
            with self._connection.begin_nested():
                return insert_if_absent(self._connection, users, values, on=["email_key"])
        except IntegrityError:
            if self._is_free(user.username):
                raise
            raise UsernameTaken from None

    def rewrite_pending(
        self, user: User, *, username: str | None, password_hash: str | None, at: datetime
    ) -> None:
        """What a pending account keeps when somebody else, or the same person, begins again."""
        self._update(
            user.id,
            username=username,
            username_key=username,
            password_hash=password_hash,
            registered_at=at,
            updated_at=at,
        )

    def activate(
        self,
        user: User,
        *,
        email_verified_at: datetime | None,
        password_hash: str | None,
        at: datetime,
    ) -> bool:
        """Make a pending or invited account active, with its username if that is still free.

        False where it is something else by now, or its password changed meanwhile.
        """
        values = {
            "status": "active",
            "email_verified_at": email_verified_at,
            "password_hash": password_hash,
            "password_changed_at": at,
            "activated_at": at,
            "updated_at": at,
        }
        unchanged = (
            users.c.id == user.id,
            users.c.status == user.status,
            users.c.status.in_(("pending", "invited")),
            users.c.password_hash.is_not_distinct_from(user.password_hash),
        )
        try:
            with self._connection.begin_nested():
                return self._connection.execute(update(users).where(*unchanged).values(values)).rowcount == 1
        except IntegrityError:
            if self._is_free(user.username):
                raise
            values |= {"username": None, "username_key": None}
            return self._connection.execute(update(users).where(*unchanged).values(values)).rowcount == 1

    def log_in(self, user_id: UUID, *, verified_hash: str, password_hash: str, at: datetime) -> bool:
        """Note a login. False where the password that was verified is no longer the account's."""
        statement = (
            update(users)
            .where(
                users.c.id == user_id,
                users.c.password_hash == verified_hash,
                users.c.status == "active",
            )
            .values(password_hash=password_hash, last_login_at=at)
        )
        return self._connection.execute(statement).rowcount == 1

    def set_password(self, user: User, password_hash: str, *, verifies_email: bool, at: datetime) -> bool:
        """False where the account is not active any more, or its password is not that of `user`."""
        values: dict[str, Any] = {"password_hash": password_hash, "password_changed_at": at, "updated_at": at}
        if verifies_email and user.email_verified_at is None:
            values["email_verified_at"] = at
        statement = (
            update(users)
            .where(
                users.c.id == user.id,
                users.c.status == "active",
                users.c.password_hash.is_not_distinct_from(user.password_hash),
            )
            .values(values)
        )
        return self._connection.execute(statement).rowcount == 1

    def set_username(self, user_id: UUID, username: str, *, at: datetime) -> None:
        """Raises UsernameTaken, the transaction goes on."""
        try:
            with self._connection.begin_nested():
                self._update(user_id, username=username, username_key=username, updated_at=at)
        except IntegrityError:
            raise UsernameTaken from None

    def set_role(self, user_id: UUID, role: str, *, at: datetime) -> None:
        self._update(user_id, role=role, updated_at=at)

    def count_abandoned(self, before: datetime, *, at: datetime) -> int:
        counted = select(func.count()).select_from(users).where(*self._abandoned(before, at))
        return self._connection.execute(counted).scalar_one()

    def delete_abandoned(self, before: datetime, *, at: datetime, limit: int) -> int:
        """Pending accounts, last registered before `before`, without a living link.

        The condition stands in the DELETE too: who activates in this moment stays.
        """
        chosen = select(users.c.id).where(*self._abandoned(before, at)).limit(limit)
        statement = delete(users).where(users.c.id.in_(chosen), *self._abandoned(before, at))
        return self._connection.execute(statement).rowcount

    def _abandoned(self, before: datetime, at: datetime) -> tuple[Any, ...]:
        living_link = (
            select(link_tokens.c.id)
            .where(
                link_tokens.c.user_id == users.c.id,
                link_tokens.c.used_at.is_(None),
                link_tokens.c.revoked_at.is_(None),
                link_tokens.c.expires_at > at,
            )
            .exists()
        )
        return (
            users.c.status == "pending",
            users.c.registered_at < before,
            ~living_link,
        )

    def _is_free(self, username: str | None) -> bool:
        return username is None or self.by_username_key(username) is None

    def _one(self, condition: Any) -> User | None:
        row = self._connection.execute(select(*COLUMNS).where(condition)).first()
        return user_from(row) if row else None

    def _update(self, user_id: UUID, **values: Any) -> None:
        self._connection.execute(update(users).where(users.c.id == user_id).values(values))


def user_from(row: Row[Any]) -> User:
    """A user out of a row whose first columns are COLUMNS."""
    return User(*row[: len(COLUMNS)])
