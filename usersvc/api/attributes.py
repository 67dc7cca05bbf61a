"""What administrators keep about a user."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.profile_schemas import AttributesIn, WatchedUserOut, answer_watched
from usersvc.api.schemas import Success
from usersvc.errors import (
    Forbidden,
    InvalidAttributes,
    InvalidToken,
    NotActive,
    SessionEnded,
    TokenExpired,
    UserNotFound,
)
from usersvc.services import profiles

router = APIRouter(prefix=f"{PREFIX}/admin", tags=["administration"])


@router.patch(
    "/users/{user_id}/attributes",
    summary="Set a user's attributes",
    response_model=Success[WatchedUserOut],
    responses=documented(
        InvalidToken, SessionEnded, TokenExpired, Forbidden, UserNotFound, InvalidAttributes, NotActive
    ),
)
async def set_attributes(
    user_id: UUID, body: AttributesIn, request: Request, bearer: BearerToken
) -> Response:
    """Put these in the place of the attributes that the account has. The user can read them."""
    account = await run_signed_in(
        request, bearer, profiles.set_attributes, user_id=user_id, attributes=body.attributes
    )
    return answer_watched(account)
