"""usersvc's own `GET /users/me` with the row read through SQLAlchemy's AsyncSession.

The settings, the token, the tables and the answer are those of usersvc; there is no middleware around it.
"""

import os

from fastapi import FastAPI, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.responses import Response

from usersvc import configuration, logs
from usersvc.api.deps import BearerToken
from usersvc.api.schemas import UserOut, answer
from usersvc.core import Core, build
from usersvc.db.models import sessions, users
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys
from usersvc.services.accounts import Account


def make_app(core: Core, url: str) -> FastAPI:
    app = FastAPI()
    engine = create_async_engine(url)

    @app.get("/api/v1/users/me")
    async def show(request: Request, bearer: BearerToken) -> Response:
        del request
        claims = core.tokens.read_access(bearer.credentials if bearer else "", at=core.clock.now())
        async with AsyncSession(engine) as session:
            joined = (
                select(users, sessions).join_from(sessions, users).where(sessions.c.id == claims.session_id)
            )
            row = (await session.execute(joined)).mappings().first()
        assert row is not None
        account = Account(
            id=row[users.c.id],
            email=row[users.c.email],
            email_verified=row[users.c.email_verified_at] is not None,
            username=row[users.c.username],
            role=row[users.c.role],
            status=row[users.c.status],
            created_at=row[users.c.created_at],
            updated_at=row[users.c.updated_at],
            last_login_at=row[users.c.last_login_at],
        )
        return answer(UserOut.of(account))

    return app


def from_environment() -> FastAPI:
    """As uvicorn calls it in a process of its own."""
    logs.configure(level="error", form="json")
    core = build(configuration.load(environ=dict(os.environ)), transport=MemoryTransport())
    keys.open_ring(core)
    return make_app(core, os.environ["ASYNC_DATABASE_URL"])
