"""The deletion of an account, in and out."""

from datetime import datetime

from pydantic import BaseModel, Field

from usersvc.api.schemas import Body, PasswordText


class DeleteMeIn(Body):
    password: PasswordText


class DeletionOut(BaseModel):
    deletion_due_at: datetime = Field(
        description="From then on it is carried out; logging in before calls it off."
    )
