"""Logging in."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, face_of, run
from usersvc.api.errors import documented
from usersvc.api.password_change_schemas import ReplacePasswordIn
from usersvc.api.schemas import LoginIn, Success, TokenPairOut, answer
from usersvc.errors import (
    AccountDeactivated,
    AccountNotActivated,
    InvalidCredentials,
    LoginLocked,
    PasswordChangeRequired,
    TooManyAttempts,
    WeakPassword,
)
from usersvc.services import login, password_change

router = APIRouter(prefix=PREFIX, tags=["sessions"])


@router.post(
    "/auth/login",
    summary="Log in",
    response_model=Success[TokenPairOut],
    responses=documented(
        AccountDeactivated,
        AccountNotActivated,
        InvalidCredentials,
        LoginLocked,
        PasswordChangeRequired,
        TooManyAttempts,
    ),
)
async def log_in(body: LoginIn, request: Request) -> Response:
    """Open a session."""
    with face_of(request).counts.logins.tried():
        pair = await run(request, login.log_in, on="hashing", email=body.email, password=body.password)
    return answer(TokenPairOut.model_validate(pair))


@router.post(
    "/auth/change-password",
    summary="Change password and log in",
    response_model=Success[TokenPairOut],
    responses=documented(
        AccountDeactivated,
        AccountNotActivated,
        InvalidCredentials,
        LoginLocked,
        TooManyAttempts,
        WeakPassword,
    ),
)
async def change_password_and_log_in(body: ReplacePasswordIn, request: Request) -> Response:
    """Replace the password without a session, as after `PASSWORD_CHANGE_REQUIRED`, and open one."""
    with face_of(request).counts.logins.tried():
        pair = await run(
            request,
            password_change.change_and_log_in,
            on="hashing",
            email=body.email,
            current_password=body.current_password,
            new_password=body.new_password,
        )
    return answer(TokenPairOut.model_validate(pair))
