"""Everything that is held about a person, as JSON."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from usersvc.api.schemas import Role, Status
from usersvc.services import actor


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, extra="forbid")


class ExportedAccountOut(_Out):
    id: UUID
    email: str
    email_verified_at: datetime | None
    username: str | None
    role: Role
    status: Status
    created_at: datetime
    updated_at: datetime
    registered_at: datetime | None
    invited_at: datetime | None
    activated_at: datetime | None
    deactivated_at: datetime | None
    password_changed_at: datetime | None
    last_login_at: datetime | None
    deletion_due_at: datetime | None


class ExportedSessionOut(_Out):
    id: UUID
    device: str | None = Field(description="The User-Agent that logged in.")
    ip: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str | None


class ExportedGroupOut(_Out):
    name: str
    manager: bool


class ExportedMailOut(_Out):
    kind: str
    status: str
    created_at: datetime
    sent_at: datetime | None


class ExportedEntryOut(_Out):
    at: datetime
    action: str
    outcome: str = Field(description="`ok`, or an error code.")
    actor_kind: actor.Kind
    by_you: bool
    to_you: bool
    ip: str | None = Field(description="Where it was you, signed in or with a link of yours.")
    detail: dict[str, Any] = Field(description="Empty where it was done to somebody else.")


class ExportOut(_Out):
    exported_at: datetime
    complete: bool = Field(description="Whether the lists are whole; else each has its newest 1,000.")
    account: ExportedAccountOut
    profile: dict[str, Any]
    attributes: dict[str, Any]
    groups: list[ExportedGroupOut]
    sessions: list[ExportedSessionOut] = Field(description="The ended ones too, as long as they are kept.")
    known_networks: int = Field(description="From how many networks you logged in; which, is not kept.")
    mails: list[ExportedMailOut]
    audit: list[ExportedEntryOut] = Field(description="What you did, and what was done to your account.")
