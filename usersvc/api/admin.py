"""Administration: accounts listed, invited, shut out and let in, given roles; their sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.paging import LINK, link_next
from usersvc.api.profile_schemas import WatchedUserOut, answer_watched
from usersvc.api.schemas import (
    InviteIn,
    RoleIn,
    SessionOut,
    SessionsEndedOut,
    Success,
    UserOut,
    UsersQuery,
    answer,
)
from usersvc.errors import (
    EmailTaken,
    Forbidden,
    InvalidCursor,
    InvalidEmail,
    InvalidToken,
    InvalidUsername,
    LastAdmin,
    NotActive,
    OwnAccount,
    SessionEnded,
    TokenExpired,
    UsernameTaken,
    UserNotFound,
)
from usersvc.services import admin, directory, invitations, sessions

router = APIRouter(prefix=f"{PREFIX}/admin", tags=["administration"])

_MAY_NOT = (InvalidToken, SessionEnded, TokenExpired, Forbidden)


@router.get(
    "/users",
    summary="List users",
    response_model=Success[list[UserOut]],
    responses={200: {"headers": LINK}, **documented(*_MAY_NOT, InvalidCursor)},
)
async def list_users(
    query: Annotated[UsersQuery, Query()], request: Request, bearer: BearerToken
) -> Response:
    """One page. The next one is at the address in the `Link` header, with the same sort and filters."""
    page = await run_signed_in(request, bearer, directory.list_users, on="long_reads", **query.given())
    response = answer([UserOut.of(account) for account in page.accounts])
    link_next(response, request, query.given(), page.next_cursor)
    return response


@router.post(
    "/users",
    summary="Invite a user",
    status_code=201,
    response_model=Success[UserOut],
    responses=documented(*_MAY_NOT, InvalidEmail, InvalidUsername, EmailTaken, UsernameTaken),
)
async def invite_user(body: InviteIn, request: Request, bearer: BearerToken) -> Response:
    """Make an account and mail a link to choose its password. A role above `user` needs `roles:write`."""
    account = await run_signed_in(request, bearer, invitations.invite, **body.model_dump())
    return answer(UserOut.of(account), status=201)


@router.get(
    "/users/{user_id}",
    summary="Show a user",
    response_model=Success[WatchedUserOut],
    responses=documented(*_MAY_NOT, UserNotFound),
)
async def show_user(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """One account, with what is kept beyond it."""
    account = await run_signed_in(request, bearer, admin.show, user_id=user_id)
    return answer_watched(account)


@router.patch(
    "/users/{user_id}/activate",
    summary="Activate a user",
    response_model=Success[UserOut],
    responses=documented(*_MAY_NOT, UserNotFound),
)
async def activate_user(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Let an account in. One that was never active gets a link to choose a password."""
    return answer(UserOut.of(await run_signed_in(request, bearer, admin.activate, user_id=user_id)))


@router.patch(
    "/users/{user_id}/deactivate",
    summary="Deactivate a user",
    response_model=Success[UserOut],
    responses=documented(*_MAY_NOT, UserNotFound, OwnAccount, LastAdmin),
)
async def deactivate_user(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Shut an account out. Its row stays; its sessions and links end at once."""
    return answer(UserOut.of(await run_signed_in(request, bearer, admin.deactivate, user_id=user_id)))


@router.patch(
    "/users/{user_id}/role",
    summary="Set a user's role",
    response_model=Success[UserOut],
    responses=documented(*_MAY_NOT, UserNotFound, OwnAccount, LastAdmin, NotActive),
)
async def set_role(user_id: UUID, body: RoleIn, request: Request, bearer: BearerToken) -> Response:
    """Give an account another role. Access tokens tell the old one until they expire."""
    account = await run_signed_in(request, bearer, admin.set_role, user_id=user_id, role=body.role)
    return answer(UserOut.of(account))


@router.get(
    "/users/{user_id}/sessions",
    summary="List a user's sessions",
    response_model=Success[list[SessionOut]],
    responses=documented(*_MAY_NOT, UserNotFound),
)
async def list_sessions_of(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Where somebody is logged in, the most recently used first."""
    found = await run_signed_in(request, bearer, sessions.list_of, user_id=user_id)
    return answer([SessionOut.model_validate(session) for session in found])


@router.delete(
    "/users/{user_id}/sessions",
    summary="End a user's sessions",
    response_model=Success[SessionsEndedOut],
    responses=documented(*_MAY_NOT, UserNotFound),
)
async def end_sessions_of(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Log somebody out everywhere; it acts at once."""
    ended = await run_signed_in(request, bearer, sessions.revoke_all, user_id=user_id)
    return answer(SessionsEndedOut(sessions_ended=ended))
