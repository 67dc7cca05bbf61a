"""Tokens for other services."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.audience_schemas import AudienceIn, AudienceTokenOut
from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.schemas import Success, answer
from usersvc.errors import InvalidToken, SessionEnded, TokenExpired, UnknownAudience
from usersvc.services import audiences

router = APIRouter(prefix=PREFIX, tags=["sessions"])


@router.post(
    "/auth/tokens",
    summary="Get a token for another service",
    response_model=Success[AudienceTokenOut],
    responses=documented(InvalidToken, SessionEnded, TokenExpired, UnknownAudience),
)
async def issue_token(body: AudienceIn, request: Request, bearer: BearerToken) -> Response:
    """An access token that this audience alone takes: it opens nothing at usersvc, nor at other services."""
    token = await run_signed_in(request, bearer, audiences.issue_token, audience=body.audience)
    return answer(AudienceTokenOut.model_validate(token))
