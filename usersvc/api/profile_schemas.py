"""The JSON objects of an account, in and out. Their fields are not ours: a project names them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from starlette.responses import Response

from usersvc.api.schemas import USER_EXAMPLE, Body, Text, UserOut, enveloped
from usersvc.clock import rfc_3339
from usersvc.locales import Locale
from usersvc.services.accounts import FullAccount, WatchedAccount


class ChangeMeIn(Body):
    """What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    username: Annotated[Text, Field(examples=["ada"])] = Field(default_factory=str)
    locale: Locale = Field(default_factory=lambda: "en", description="The language of mails to me.")
    profile: dict[str, Any] = Field(
        default_factory=dict,
        description="The whole profile: it takes the place of the one before.",
        examples=[{}],
    )

    @model_validator(mode="after")
    def _names_something(self) -> "ChangeMeIn":
        if not self.model_fields_set:
            raise ValueError("Send username, locale, profile or several of them.")
        return self

    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class AttributesIn(Body):
    attributes: dict[str, Any] = Field(
        description="All attributes: they take the place of those before.", examples=[{}]
    )


class FullUserOut(UserOut):
    """For the document alone: `answer_user` writes it, with what is stored as JSON as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**USER_EXAMPLE, "profile": {"language": "en"}, "attributes": {"customer": 17}}]
        }
    )

    profile: dict[str, Any] = Field(description="What the user keeps about himself.")
    attributes: dict[str, Any] = Field(description="What administrators keep about the user.")


class WatchedUserOut(FullUserOut):
    """As administrators see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **USER_EXAMPLE,
                    "profile": {},
                    "attributes": {},
                    "must_change_password": False,
                    "deletion_due_at": None,
                }
            ]
        }
    )

    must_change_password: bool = Field(
        description="Whether an operator set the password, so that it opens no session before it is replaced."
    )
    deletion_due_at: datetime | None = Field(
        description="From when on the account is deleted, unless its owner logs in before."
    )


def answer_user(account: FullAccount) -> Response:
    """The user, with profile and attributes: stored as JSON, so not parsed to be written again."""
    return enveloped(f"{_unclosed(account)}}}")


def answer_watched(account: WatchedAccount) -> Response:
    """The same, as administrators see it."""
    must_change = "true" if account.must_change_password else "false"
    due_at = f'"{rfc_3339(account.deletion_due_at)}"' if account.deletion_due_at else "null"
    return enveloped(
        f'{_unclosed(account)},"must_change_password":{must_change},"deletion_due_at":{due_at}}}'
    )


def _unclosed(account: FullAccount) -> str:
    user = UserOut.of(account).model_dump_json()
    return f'{user[:-1]},"profile":{account.profile},"attributes":{account.attributes}'
