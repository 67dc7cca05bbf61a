"""What goes in and out as JSON. Unknown fields are refused, types are not guessed."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from starlette.responses import Response

from usersvc.locales import Locale
from usersvc.services import actor, audit, directory
from usersvc.services.accounts import Account

Data = TypeVar("Data")

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _storable(text: str) -> str:
    """No NUL, which databases and C libraries end a text at; no lone surrogate, which is no text."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("This holds a character that is not allowed.")
    return text


Text = Annotated[str, AfterValidator(_storable)]
# Taken as any text, so that a login with a mistyped address answers as one with an unknown address.
EmailText = Annotated[
    Text, WithJsonSchema({"type": "string", "format": "email", "examples": ["ada@example.org"]})
]
PasswordText = Annotated[
    Text, WithJsonSchema({"type": "string", "format": "password", "examples": ["zebra quilt 41 lamp"]})
]


Role = Literal["user", "moderator", "admin"]
Status = Literal["pending", "invited", "active", "deactivated"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RegisterIn(Body):
    email: EmailText
    password: PasswordText
    username: Annotated[Text, Field(examples=["ada"])] | None = None


class ActivateIn(Body):
    token: Text
    password: PasswordText | None = Field(None, description="Only for an account that has no password yet.")


class ResetPasswordIn(Body):
    reset_token: Text
    new_password: PasswordText


class ChangePasswordIn(Body):
    current_password: PasswordText
    new_password: PasswordText


class EmailIn(Body):
    email: EmailText


class LoginIn(Body):
    email: EmailText
    password: PasswordText


class RefreshTokenIn(Body):
    refresh_token: Text


class InviteIn(Body):
    email: EmailText
    role: Role = "user"
    username: Annotated[Text, Field(examples=["ada"])] | None = None
    locale: Locale | None = Field(None, description="The language of mails to this user.")


class RoleIn(Body):
    role: Role


class UsersQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    q: (
        Annotated[Text, Field(max_length=320, description="How the address or the username begins.")] | None
    ) = None
    role: Role | None = None
    status: Status | None = None
    sort: directory.Sort = "created_at"
    limit: int = Field(50, ge=1, le=directory.MOST, description="How many a page.")
    cursor: Annotated[Text, Field(description="Out of the `Link` header of the page before.")] | None = None

    def given(self) -> dict[str, Any]:
        """What was asked for, without what was left out."""
        return self.model_dump(exclude_none=True)


def _rfc_3339(text: object) -> object:
    """Pydantic takes more: a bare number for a time, for instance."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("This is not a time with a zone as in RFC 3339, like 2026-11-22T05:19:46Z.")
    return text


def _who(text: object) -> object:
    if text in actor.KINDS:
        return text
    try:
        return UUID(str(text))
    except ValueError:
        raise ValueError(f"This is neither the id of a user nor one of {', '.join(actor.KINDS)}.") from None


def _known_action(text: str) -> str:
    if not audit.is_known(text):
        raise ValueError("There is no such action; `user.` with a dot at the end is for all that begin so.")
    return text


Time = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]
Who = Annotated[
    UUID | actor.Kind, BeforeValidator(_who), WithJsonSchema({"type": "string", "examples": ["operator"]})
]


class AuditQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: Annotated[Who, Field(description="Who acted: an id, or a kind of actor.")] | None = None
    target: Annotated[UUID, Field(description="The id of the user or service it was done to.")] | None = None
    action: (
        Annotated[
            str,
            Field(
                max_length=48,
                description="An action, or with a dot at the end all that begin so: `user.`",
                examples=["user.activated"],
            ),
            AfterValidator(_known_action),
        ]
        | None
    ) = None
    since: Annotated[Time, Field(description="Not older than this.")] | None = None
    until: Annotated[Time, Field(description="Older than this.")] | None = None
    limit: int = Field(50, ge=1, le=audit.MOST, description="How many a page.")
    cursor: Annotated[Text, Field(description="Out of the `Link` header of the page before.")] | None = None

    def filters(self) -> audit.Filters:
        return audit.Filters(self.actor, self.target, self.action, self.since, self.until)

    def given(self) -> dict[str, Any]:
        """What was asked for, without what was left out."""
        return self.model_dump(mode="json", exclude_none=True)


USER_EXAMPLE: dict[str, Any] = {
    "id": "01a201b2-37f6-71c5-8595-9ace836b8cc1",
    "email": "ada@example.org",
    "email_verified": True,
    "username": "ada",
    "locale": "en",
    "role": "user",
    "is_admin": False,
    "is_active": True,
    "status": "active",
    "created_at": "2026-11-22T05:19:46.678055Z",
    "updated_at": "2026-11-22T05:19:47.731853Z",
    "last_login_at": "2026-11-22T05:19:47.988841Z",
}


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [USER_EXAMPLE]})

    id: UUID
    email: str
    email_verified: bool
    username: str | None
    locale: str | None = Field(description="The language of mails to this user; null: of the settings.")
    role: Role
    is_admin: bool
    is_active: bool
    status: Status
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, account: Account) -> "UserOut":
        return cls.model_validate(account)


class RegisteredOut(BaseModel):
    email: str
    activation: Literal["sent"] = "sent"


class TokenPairOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_expires_in: int = Field(
        description="Seconds until the refresh token expires, if it is not used before."
    )


class SessionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    device: str | None = Field(description="The User-Agent that logged in.")
    ip: str | None
    created_at: datetime
    last_used_at: datetime
    current: bool = Field(description="Whether the request came with this session.")


class SessionsEndedOut(BaseModel):
    sessions_ended: int


class AuditEntryOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "01a201b2-37f6-71c5-8595-9ace836b8cc1",
                    "at": "2026-11-22T05:19:46.678055Z",
                    "actor_kind": "operator",
                    "actor_id": None,
                    "actor_name": "root",
                    "action": "user.role_changed",
                    "target_id": "01a201b2-37f6-71c5-8595-9ace836b8cc1",
                    "ip": None,
                    "outcome": "ok",
                    "request_id": None,
                    "detail": {"before": "user", "after": "moderator"},
                }
            ]
        },
    )

    id: UUID
    at: datetime
    actor_kind: actor.Kind
    actor_id: UUID | None = Field(description="Of a user or a service.")
    actor_name: str | None = Field(description="Of an operator, a job or a service.")
    action: str
    target_id: UUID | None = Field(description="The user it was done to; the account may be gone since.")
    ip: str | None
    outcome: str = Field(description="`ok`, or the error code that the caller met.")
    request_id: str | None
    detail: dict[str, Any] = Field(description="What else belongs to this action.")


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    code: str = Field(description="Stable, from a closed list; what a program decides by.")
    message: str = Field(description="For a person.")
    fields: list[FieldProblem] = Field(
        [], description="With `VALIDATION_ERROR`, `INVALID_PROFILE` and `INVALID_ATTRIBUTES` alone."
    )


class Failure(BaseModel):
    success: Literal[False]
    data: None
    error: Problem


class Success(BaseModel, Generic[Data]):
    success: Literal[True] = True
    data: Data
    error: None = None


def answer(data: BaseModel | Sequence[BaseModel] | None = None, *, status: int = 200) -> Response:
    """The envelope around `data`, as JSON."""
    match data:
        case None:
            inner = "null"
        case BaseModel():
            inner = data.model_dump_json()
        case _:
            inner = f"[{','.join(item.model_dump_json() for item in data)}]"
    return enveloped(inner, status=status)


def enveloped(data: str, *, status: int = 200) -> Response:
    """The envelope around what is JSON already."""
    body = f'{{"success":true,"data":{data},"error":null}}'
    return Response(body, status, media_type="application/json")
