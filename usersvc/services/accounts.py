"""An account as its owner, an administrator or a command sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from usersvc.repositories.users import User


@dataclass(frozen=True)
class Account:
    """A user without what must not leave the services."""

    id: UUID
    email: str
    email_verified: bool
    username: str | None
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_active(self) -> bool:
        return self.status == "active"

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(
            id=user.id,
            email=user.email,
            email_verified=user.email_verified_at is not None,
            username=user.username,
            role=user.role,
            status=user.status,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
        )
