"""Accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from usersvc.db.models import link_tokens, users
from usersvc.db.types import insert_if_absent
from usersvc.errors import UsernameTaken
from usersvc.repositories.purging import delete_some


@dataclass(frozen=True)
class User:
    id: UUID
    email: str
    email_key: str
    email_verified_at: datetime | None
    username: str | None
    locale: str | None
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
    deletion_due_at: datetime | None = None


COLUMNS = [users.c[name] for name in User.__dataclass_fields__]
# Built once: to build them took longer than to run them. An UPDATE sets the columns that its values name.
_BY_ID = select(*COLUMNS).where(users.c.id == bindparam("id"))
_BY_EMAIL_KEY = select(*COLUMNS).where(users.c.email_key == bindparam("email_key"))
_BY_USERNAME_KEY = select(*COLUMNS).where(
    users.c.username_key == bindparam("username_key"), users.c.activated_at.is_not(None)
)
_HOLD = _BY_ID.with_for_update()
_HOLD_BY_EMAIL_KEY = _BY_EMAIL_KEY.with_for_update()
_UPDATE = update(users).where(users.c.id == bindparam("b_id"))
_LOG_IN = _UPDATE.where(
    users.c.password_hash == bindparam("b_verified_hash"), users.c.status == "active"
).returning(*COLUMNS)


class Users:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_id(self, user_id: UUID) -> User | None:
        return self._one(_BY_ID, id=user_id)

    def by_email_key(self, email_key: str) -> User | None:
        return self._one(_BY_EMAIL_KEY, email_key=email_key)

    def by_username_key(self, username_key: str) -> User | None:
        """Among the accounts that hold their username: those that were ever active."""
        return self._one(_BY_USERNAME_KEY, username_key=username_key)

    def hold(self, user_id: UUID) -> User | None:
        """The account, which no other transaction changes before this one ends."""
        return self._one(_HOLD, id=user_id)

    def hold_by_email_key(self, email_key: str) -> User | None:
        return self._one(_HOLD_BY_EMAIL_KEY, email_key=email_key)

    def hold_active_admins(self) -> list[UUID]:
        """The active administrators, who stay so until this transaction ends unless it changes them.

        Always in the same order, so that two transactions do not wait for each other.
        """
        held = select(users.c.id).where(*_is_active_admin()).order_by(users.c.id).with_for_update()
        return list(self._connection.execute(held).scalars())

    def there_is_an_active_admin(self) -> bool:
        found = select(users.c.id).where(*_is_active_admin()).limit(1)
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
        self,
        user: User,
        *,
        username: str | None,
        locale: str | None,
        password_hash: str | None,
        at: datetime,
    ) -> None:
        """What a pending account keeps when somebody else, or the same person, begins again."""
        self._update(
            user.id,
            username=username,
            username_key=username,
            locale=locale,
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
        unchanged = (
            users.c.status == user.status,
            users.c.status.in_(("pending", "invited")),
            users.c.password_hash.is_not_distinct_from(user.password_hash),
        )
        return self._make_active(
            user,
            unchanged,
            email_verified_at=email_verified_at,
            password_hash=password_hash,
            password_changed_at=at,
            activated_at=at,
            updated_at=at,
        )

    def activate_without_password(self, user: User, *, at: datetime) -> bool:
        """Make an account active that is not, without a password, with its username if that is still free."""
        return self._make_active(
            user,
            (users.c.status != "active",),
            password_hash=None,
            activated_at=user.activated_at or at,
            deactivated_at=None,
            updated_at=at,
        )

    def _make_active(self, user: User, conditions: tuple[ColumnElement[bool], ...], **values: Any) -> bool:
        statement = update(users).where(users.c.id == user.id, *conditions).values(status="active", **values)
        try:
            with self._connection.begin_nested():
                return self._connection.execute(statement).rowcount == 1
        except IntegrityError:
            if self._is_free(user.username):
                raise
            nameless = statement.values(username=None, username_key=None)
            return self._connection.execute(nameless).rowcount == 1

    def invite(
        self, user_id: UUID, role: str, *, username: str | None, locale: str | None, at: datetime
    ) -> bool:
        """Make a pending account an invited one; whatever it was left with is void. False for any other."""
        values: dict[str, Any] = {
            "status": "invited",
            "role": role,
            "username": username,
            "username_key": username,
            "locale": locale,
            "password_hash": None,
            "invited_at": at,
            "updated_at": at,
        }
        statement = update(users).where(users.c.id == user_id, users.c.status == "pending").values(values)
        return self._connection.execute(statement).rowcount == 1

    def deactivate(self, user: User, *, at: datetime) -> None:
        """A password that nobody ever logged in with does not outlive this: a stranger may have set it."""
        kept = user.password_hash if user.activated_at else None
        self._update(user.id, status="deactivated", password_hash=kept, deactivated_at=at, updated_at=at)

    def reactivate(self, user_id: UUID, *, at: datetime) -> None:
        """Make an account active that was so before, as it was."""
        self._update(user_id, status="active", deactivated_at=None, updated_at=at)

    def log_in(self, user_id: UUID, *, verified_hash: str, password_hash: str, at: datetime) -> User | None:
        """Note a login; the account as it is now. None where the verified password is no longer its own."""
        values = {"password_hash": password_hash, "last_login_at": at}
        which = {"b_id": user_id, "b_verified_hash": verified_hash}
        return self._one(_LOG_IN, **which, **values)

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

    def set_locale(self, user_id: UUID, locale: str, *, at: datetime) -> None:
        self._update(user_id, locale=locale, updated_at=at)

    def set_role(self, user_id: UUID, role: str, *, at: datetime) -> None:
        self._update(user_id, role=role, updated_at=at)

    def count_abandoned(self, before: datetime, *, at: datetime) -> int:
        counted = select(func.count()).select_from(users).where(*self._abandoned(before, at))
        return self._connection.execute(counted).scalar_one()

    def delete_abandoned(self, before: datetime, *, at: datetime, limit: int) -> list[UUID]:
        """Never activated accounts, last registered or invited before `before`, without a living link; which.

        Who activates in this moment stays.
        """
        deleted = delete_some(self._connection, users, *self._abandoned(before, at), limit=limit)
        return [user_id for (user_id,) in deleted]

    def _abandoned(self, before: datetime, at: datetime) -> tuple[Any, ...]:
        # As EXISTS, PostgreSQL without statistics compares all accounts with all links; this it cannot join.
        living_links = (
            select(func.count())
            .select_from(link_tokens)
            .where(
                link_tokens.c.user_id == users.c.id,
                link_tokens.c.used_at.is_(None),
                link_tokens.c.revoked_at.is_(None),
                link_tokens.c.expires_at > at,
            )
            .scalar_subquery()
        )
        registered = and_(users.c.status == "pending", users.c.registered_at < before)
        # Written out: PostgreSQL's plan for any value uses no index with a condition.
        invited = and_(users.c.status == literal_column("'invited'"), users.c.invited_at < before)
        return or_(registered, invited), living_links == 0

    def _is_free(self, username: str | None) -> bool:
        return username is None or self.by_username_key(username) is None

    def _one(self, statement: Executable, **values: Any) -> User | None:
        row = self._connection.execute(statement, values).first()
        return user_from(row) if row else None

    def _update(self, user_id: UUID, **values: Any) -> None:
        self._connection.execute(_UPDATE, {"b_id": user_id, **values})


def _is_active_admin() -> tuple[Any, ...]:
    return users.c.role == "admin", users.c.status == "active"


def user_from(row: Sequence[Any]) -> User:
    """A user out of a row whose first columns are COLUMNS."""
    return User(*row[: len(COLUMNS)])
