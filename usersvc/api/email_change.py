"""Changing the address of an account, and the links in the mails about it."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run, run_signed_in
from usersvc.api.email_change_schemas import ChangeEmailIn, LinkIn
from usersvc.api.errors import documented
from usersvc.api.schemas import Success, UserOut, answer
from usersvc.errors import (
    EmailTaken,
    EmailUnchanged,
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    InvalidToken,
    LoginLocked,
    SessionEnded,
    TokenExpired,
    TooManyAttempts,
    WrongPassword,
)
from usersvc.services import email_change, login_alerts

router = APIRouter(prefix=PREFIX)


@router.post(
    "/users/me/change-email",
    tags=["own account"],
    summary="Change my address",
    status_code=202,
    response_model=Success[None],
    responses=documented(
        EmailUnchanged,
        InvalidCredentials,
        InvalidEmail,
        InvalidToken,
        LoginLocked,
        SessionEnded,
        TokenExpired,
        TooManyAttempts,
        WrongPassword,
    ),
)
async def change_email(body: ChangeEmailIn, request: Request, bearer: BearerToken) -> Response:
    """Ask for another address. The answer never tells whether it is known; a mail there tells the rest."""
    await run_signed_in(
        request, bearer, email_change.ask, on="hashing", email=body.email, password=body.password
    )
    return answer(status=202)


@router.post(
    "/auth/confirm-email",
    tags=["own account"],
    summary="Confirm a new address",
    response_model=Success[UserOut],
    responses=documented(EmailTaken, InvalidLink, TooManyAttempts),
)
async def confirm_email(body: LinkIn, request: Request) -> Response:
    """Confirm with the token of the link mailed to the new address. The old one is told, with a way back."""
    return answer(UserOut.of(await run(request, email_change.confirm, token=body.token)))


@router.post(
    "/auth/restore-email",
    tags=["own account"],
    summary="Have the old address back",
    response_model=Success[None],
    responses=documented(EmailTaken, InvalidLink, TooManyAttempts),
)
async def restore_email(body: LinkIn, request: Request) -> Response:
    """Undo a change with the token mailed to the old address. The password is void; every session ends."""
    await run(request, email_change.restore, token=body.token)
    return answer()


@router.post(
    "/auth/end-session",
    tags=["sessions"],
    summary="Undo a login that was not mine",
    response_model=Success[None],
    responses=documented(EmailTaken, InvalidLink, TooManyAttempts),
)
async def end_session(body: LinkIn, request: Request) -> Response:
    """Undo a login with the token of the mail that told of it. The password is void; every session ends."""
    await run(request, login_alerts.end_session, token=body.token)
    return answer()
