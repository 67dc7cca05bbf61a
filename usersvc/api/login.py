"""Logging in."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, face_of, run
from usersvc.api.errors import documented
from usersvc.api.schemas import LoginIn, Success, TokenPairOut, answer
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    InvalidCredentials,
    LoginLocked,
    TooManyAttempts,
)
from usersvc.services import login

router = APIRouter(prefix=PREFIX, tags=["sessions"])


@router.post(
    "/auth/login",
    summary="Log in",
    response_model=Success[TokenPairOut],
    responses=documented(
        AccountDeactivated, AccountNotActivated, InvalidCredentials, LoginLocked, TooManyAttempts
    ),
)
async def log_in(body: LoginIn, request: Request) -> Response:
    """Open a session."""
    with face_of(request).counts.logins.tried():
        pair = await run(request, login.log_in, on="hashing", email=body.email, password=body.password)
    return answer(TokenPairOut.model_validate(pair))
