"""What goes in and out of the routes of groups."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from usersvc.api.schemas import Body, Status, Text
from usersvc.services import groups

_NAME = Field(examples=["order-desk"], description="1 to 32 of `a-z`, `0-9`, dot, underscore and hyphen.")
_DESCRIPTION = Field(examples=["Takes orders by telephone"], max_length=groups.LONGEST_DESCRIPTION)
_PERMISSIONS = Field(examples=[["orders:read", "orders:write"]], description="At most 100.")

_A_GROUP: dict[str, Any] = {
    "id": "01a201b2-37f6-71c5-8595-9ace836b8cc1",
    "name": "order-desk",
    "description": "Takes orders by telephone",
    "permissions": ["orders:read", "orders:write"],
}


class GroupIn(Body):
    name: Annotated[Text, _NAME]
    description: Annotated[Text, _DESCRIPTION] = ""
    permissions: Annotated[list[Text], _PERMISSIONS] = Field([])


class GroupChangeIn(Body):
    """What is left out, or null, stays as it is."""

    name: Annotated[Text, _NAME] | None = None
    description: Annotated[Text, _DESCRIPTION] | None = None
    permissions: Annotated[list[Text], _PERMISSIONS] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.given():
            raise ValueError("Name what is to be changed.")
        return self

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class MemberIn(Body):
    manager: bool = Field(description="Whether the member adds and removes others.")


class PageQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=groups.MOST, description="How many a page.")
    cursor: Annotated[Text, Field(description="Out of the `Link` header of the page before.")] | None = None

    def given(self) -> dict[str, Any]:
        """What was asked for, without what was left out."""
        return self.model_dump(exclude_none=True)


class GroupOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                _A_GROUP
                | {
                    "members": 3,
                    "created_at": "2026-11-22T05:19:46.678055Z",
                    "updated_at": "2026-11-22T05:19:46.678055Z",
                }
            ]
        },
    )

    id: UUID
    name: str
    description: str
    permissions: list[str]
    members: int = Field(description="How many.")
    created_at: datetime
    updated_at: datetime


class MembershipOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [_A_GROUP | {"manager": False}]}
    )

    id: UUID
    name: str
    description: str
    permissions: list[str]
    manager: bool = Field(description="Whether the account adds and removes members.")


class MemberOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    email: str | None = Field(description="Null for who lacks `users:read`.")
    username: str | None
    status: Status | None = Field(description="Null for who lacks `users:read`.")
    manager: bool
    added_at: datetime
