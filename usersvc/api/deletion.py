"""Accounts deleted: one's own, and by administrators."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deletion_schemas import DeleteMeIn, DeletionOut
from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.schemas import Success, answer
from usersvc.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidToken,
    LastAdmin,
    LoginLocked,
    OwnAccount,
    SessionEnded,
    TokenExpired,
    TooManyAttempts,
    UserNotFound,
    WrongPassword,
)
from usersvc.services import deletion

router = APIRouter(prefix=PREFIX)

_UNKNOWN_BEARER = (InvalidToken, SessionEnded, TokenExpired)


@router.delete(
    "/users/me",
    tags=["own account"],
    summary="Delete my account",
    status_code=202,
    response_model=Success[DeletionOut],
    responses=documented(
        *_UNKNOWN_BEARER, InvalidCredentials, LastAdmin, LoginLocked, TooManyAttempts, WrongPassword
    ),
)
async def delete_me(body: DeleteMeIn, request: Request, bearer: BearerToken) -> Response:
    """Have my account deleted, some days from now. Every session ends; logging in until then keeps it."""
    due_at = await run_signed_in(request, bearer, deletion.schedule_own, on="hashing", password=body.password)
    return answer(DeletionOut(deletion_due_at=due_at), status=202)


@router.delete(
    "/admin/users/{user_id}",
    tags=["administration"],
    summary="Delete a user",
    status_code=202,
    response_model=Success[DeletionOut],
    responses=documented(*_UNKNOWN_BEARER, Forbidden, UserNotFound, OwnAccount, LastAdmin),
)
async def delete_user(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """The same for somebody else, who gets a mail. Where the account has a date already, that stays."""
    due_at = await run_signed_in(request, bearer, deletion.schedule, user_id=user_id)
    return answer(DeletionOut(deletion_due_at=due_at), status=202)
