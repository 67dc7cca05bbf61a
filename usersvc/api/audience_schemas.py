"""Tokens for other services, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from usersvc.api.schemas import Body, Text


class AudienceIn(Body):
    audience: Annotated[
        Text, Field(examples=["billing"], description="A service that `tokens.audiences` names.")
    ]


class AudienceTokenOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    access_token: str
    audience: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds until the access token expires.")
