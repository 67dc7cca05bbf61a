"""Service accounts, as JSON."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from usersvc.api.schemas import Body, Text
from usersvc.services.service_accounts import EXPIRES_DAYS, LONGEST_DESCRIPTION, MOST_PERMISSIONS

_MOST_AUDIENCES = 100

Name = Annotated[Text, Field(examples=["billing-worker"], max_length=64)]
Description = Annotated[Text, Field(examples=["Sends the invoices."], max_length=LONGEST_DESCRIPTION)]
Permissions = Annotated[
    list[Text],
    Field(
        examples=[["orders:read"]],
        max_length=MOST_PERMISSIONS,
        description="What it may do at other services; usersvc's own permissions are none of them.",
    ),
]
Audiences = Annotated[
    list[Text],
    Field(
        examples=[["billing"]],
        max_length=_MOST_AUDIENCES,
        description="Out of `tokens.audiences`: for whom it gets tokens, and whose tokens it looks into.",
    ),
]
ExpiresDays = Annotated[
    int, Field(ge=0, le=3650, description="For how many days the secret works; 0: without an end.")
]
MayEndSessions = Annotated[
    bool, Field(description="Whether it ends sessions by revoking users' tokens for its audiences.")
]


class CreateServiceIn(Body):
    name: Name
    permissions: Permissions
    audiences: Audiences = Field([])
    description: Description = ""
    may_end_sessions: MayEndSessions = False
    expires_days: ExpiresDays = EXPIRES_DAYS


class ChangeServiceIn(Body):
    """What is left out stays as it is."""

    permissions: Permissions | None = None
    audiences: Audiences | None = None
    description: Description | None = None
    may_end_sessions: MayEndSessions | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Name at least one field.")
        return self

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class RotateServiceIn(Body):
    overlap_hours: Annotated[
        int, Field(ge=0, le=24 * 365, description="For how long the secrets before it work at most.")
    ] = 24
    expires_days: ExpiresDays = EXPIRES_DAYS


class CredentialOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    hint: str = Field(description="The last four characters of the secret.")
    works: bool = Field(description="Neither revoked nor expired.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the hour.")
    revoked_at: datetime | None


class ServiceOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="The client id.")
    name: str
    description: str
    permissions: list[str]
    audiences: list[str]
    may_end_sessions: bool
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = Field(description="To the hour.")
    credentials: list[CredentialOut] = Field(description="The newest first.")


class NewCredentialOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    client_id: UUID
    client_secret: str = Field(description="Shown this once.")
    expires_at: datetime | None


class NewServiceOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    service: ServiceOut
    credential: NewCredentialOut
