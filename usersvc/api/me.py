"""The bearer's own account and sessions."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, note_user, read_one_row, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.profile_schemas import ChangeMeIn, FullUserOut, answer_user
from usersvc.api.routing import OfBearer
from usersvc.api.schemas import SessionOut, Success, answer
from usersvc.errors import (
    InvalidProfile,
    InvalidToken,
    InvalidUsername,
    SessionEnded,
    SessionNotFound,
    TokenExpired,
    TooManyAttempts,
    UsernameTaken,
)
from usersvc.services import accounts, sessions
from usersvc.services.authentication import authenticate

router = APIRouter(prefix=PREFIX, tags=["own account"])

_UNKNOWN_BEARER = (InvalidToken, SessionEnded, TokenExpired)


async def show_me(request: Request, bearer: BearerToken) -> Response:
    """The account this access token speaks for, as it stands now."""
    _, account = await read_one_row(request, bearer, authenticate)
    note_user(request, account.id)
    return answer_user(account)


router.add_api_route(
    "/users/me",
    show_me,
    summary="Show my account",
    response_model=Success[FullUserOut],
    responses=documented(*_UNKNOWN_BEARER, body=False),
    route_class_override=OfBearer,
)


@router.patch(
    "/users/me",
    summary="Change my account",
    response_model=Success[FullUserOut],
    responses=documented(*_UNKNOWN_BEARER, InvalidUsername, InvalidProfile, UsernameTaken, TooManyAttempts),
)
async def change_me(body: ChangeMeIn, request: Request, bearer: BearerToken) -> Response:
    """Take another username or language, write another profile, or all: it is done whole, or not at all."""
    return answer_user(await run_signed_in(request, bearer, accounts.change, **body.given()))


@router.get(
    "/users/me/sessions",
    summary="List my sessions",
    response_model=Success[list[SessionOut]],
    responses=documented(*_UNKNOWN_BEARER, body=False),
)
async def list_my_sessions(request: Request, bearer: BearerToken) -> Response:
    """Where I am logged in, the most recently used first."""
    found = await run_signed_in(request, bearer, sessions.list_own)
    return answer([SessionOut.model_validate(session) for session in found])


@router.delete(
    "/users/me/sessions/{session_id}",
    summary="End one of my sessions",
    response_model=Success[None],
    responses=documented(*_UNKNOWN_BEARER, SessionNotFound),
)
async def end_my_session(session_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Log out one device; it acts at once."""
    await run_signed_in(request, bearer, sessions.end_own, session_id=session_id)
    return answer()
