"""FastAPI itself: a model that is always the same, no token, no database."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from fastapi import FastAPI
from pydantic import BaseModel


class User(BaseModel):
    """With as many fields as usersvc answers."""

    id: UUID
    email: str
    email_verified: bool
    username: str | None
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


_NOW = datetime.now(UTC)
_USER = User(
    id=uuid4(),
    email="bench@example.org",
    email_verified=True,
    username=None,
    role="admin",
    status="active",
    created_at=_NOW,
    updated_at=_NOW,
    last_login_at=_NOW,
)
app = FastAPI()


@app.get("/users/me")
async def show() -> User:
    return _USER
