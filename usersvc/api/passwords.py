"""Passwords: forgotten, reset, changed."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.schemas import ChangePasswordIn, EmailIn, ResetPasswordIn, Success, TokenPairOut, answer
from usersvc.errors import (
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    InvalidToken,
    LoginLocked,
    SessionEnded,
    TokenExpired,
    TooManyAttempts,
    WeakPassword,
    WrongPassword,
)
from usersvc.services import passwords

router = APIRouter(prefix=PREFIX, tags=["passwords"])


@router.post(
    "/auth/forgot-password",
    summary="Forgot password",
    status_code=202,
    response_model=Success[None],
    responses=documented(InvalidEmail, TooManyAttempts),
)
async def forgot_password(body: EmailIn, request: Request) -> Response:
    """Ask for a link to reset the password. The answer never tells whether there will be one."""
    await run(request, passwords.forgot, email=body.email)
    return answer(status=202)


@router.post(
    "/auth/reset-password",
    summary="Reset password",
    response_model=Success[None],
    responses=documented(InvalidLink, TooManyAttempts, WeakPassword),
)
async def reset_password(body: ResetPasswordIn, request: Request) -> Response:
    """Set a new password with the token of the mailed link. It works once; every session ends."""
    await run(request, passwords.reset, on="hashing", token=body.reset_token, new_password=body.new_password)
    return answer()


@router.post(
    "/users/me/change-password",
    summary="Change password",
    response_model=Success[TokenPairOut],
    responses=documented(
        InvalidCredentials,
        InvalidToken,
        LoginLocked,
        SessionEnded,
        TokenExpired,
        TooManyAttempts,
        WeakPassword,
        WrongPassword,
    ),
)
async def change_password(body: ChangePasswordIn, request: Request, bearer: BearerToken) -> Response:
    """Replace the own password. Every session ends; the answer is a new one for the caller."""
    pair = await run_signed_in(
        request,
        bearer,
        passwords.change,
        on="hashing",
        current_password=body.current_password,
        new_password=body.new_password,
    )
    return answer(TokenPairOut.model_validate(pair))
