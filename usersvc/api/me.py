"""The bearer's own account."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, note_user, read_in_place
from usersvc.api.errors import documented
from usersvc.api.schemas import Success, UserOut, answer
from usersvc.errors import InvalidToken, SessionEnded, TokenExpired
from usersvc.services.authentication import authenticate

router = APIRouter(prefix=PREFIX, tags=["own account"])


@router.get(
    "/users/me",
    summary="Show my account",
    response_model=Success[UserOut],
    responses=documented(InvalidToken, SessionEnded, TokenExpired, body=False),
)
async def show_me(request: Request, bearer: BearerToken) -> Response:
    """The account this access token speaks for, as it stands now."""
    actor, account = read_in_place(request, bearer, authenticate)
    note_user(request, actor.user_id)
    return answer(UserOut.of(account))
