"""Registering and activating."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, run
from usersvc.api.errors import documented
from usersvc.api.schemas import ActivateIn, EmailIn, RegisteredOut, RegisterIn, Success, UserOut, answer
from usersvc.errors import (
    EmailTaken,
    InvalidEmail,
    InvalidLink,
    InvalidUsername,
    PasswordRequired,
    RegistrationClosed,
    TooManyAttempts,
    UsernameTaken,
    WeakPassword,
)
from usersvc.locales import negotiate
from usersvc.services import registration

router = APIRouter(prefix=PREFIX, tags=["registration"])


@router.post(
    "/users",
    summary="Register",
    status_code=202,
    response_model=Success[RegisteredOut],
    responses={
        201: {"model": Success[UserOut], "description": "Where activation by mail is off: active at once."},
        **documented(
            EmailTaken,
            InvalidEmail,
            InvalidUsername,
            RegistrationClosed,
            TooManyAttempts,
            UsernameTaken,
            WeakPassword,
        ),
    },
)
async def register(body: RegisterIn, request: Request) -> Response:
    """Register. The answer is the same whether the address is known or not; the mail tells the rest.

    Mails are in the language of ours that `Accept-Language` wants most.
    """
    account = await run(
        request,
        registration.register,
        on="hashing",
        email=body.email,
        password=body.password,
        username=body.username,
        locale=negotiate(", ".join(request.headers.getlist("accept-language"))),
    )
    if account is None:
        return answer(RegisteredOut(email=body.email), status=202)
    return answer(UserOut.of(account), status=201)


@router.post(
    "/auth/activate",
    summary="Activate",
    response_model=Success[UserOut],
    responses=documented(InvalidLink, PasswordRequired, TooManyAttempts, WeakPassword),
)
async def activate(body: ActivateIn, request: Request) -> Response:
    """Activate with the token of the mailed link. It works once."""
    account = await run(
        request, registration.activate, on="hashing", token=body.token, password=body.password
    )
    return answer(UserOut.of(account))


@router.post(
    "/auth/resend-activation",
    summary="Ask for another activation mail",
    status_code=202,
    response_model=Success[None],
    responses=documented(InvalidEmail, TooManyAttempts),
)
async def resend_activation(body: EmailIn, request: Request) -> Response:
    """Ask for another activation mail. The answer never tells whether there will be one."""
    await run(request, registration.resend_activation, email=body.email)
    return answer(status=202)
