"""Continuing and ending sessions."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.schemas import RefreshTokenIn, SessionsEndedOut, Success, TokenPairOut, answer
from usersvc.errors import InvalidToken, SessionEnded, TokenExpired, TokenReused, TooManyAttempts
from usersvc.services import sessions

router = APIRouter(prefix=PREFIX, tags=["sessions"])


@router.post(
    "/auth/refresh",
    summary="Refresh",
    response_model=Success[TokenPairOut],
    responses=documented(InvalidToken, SessionEnded, TokenExpired, TokenReused, TooManyAttempts),
)
async def refresh(body: RefreshTokenIn, request: Request) -> Response:
    """Get a new pair of tokens. The old refresh token is spent, but for a few seconds of grace."""
    pair = await run(request, sessions.refresh, refresh_token=body.refresh_token)
    return answer(TokenPairOut.model_validate(pair))


@router.post("/auth/logout", summary="Log out", response_model=Success[None], responses=documented())
async def log_out(body: RefreshTokenIn, request: Request) -> Response:
    """End the session of this refresh token; one that is unknown, old or ended is fine too."""
    await run(request, sessions.log_out, refresh_token=body.refresh_token)
    return answer()


@router.post(
    "/auth/logout-all",
    summary="Log out everywhere",
    response_model=Success[SessionsEndedOut],
    responses=documented(InvalidToken, SessionEnded, TokenExpired),
)
async def log_out_everywhere(request: Request, bearer: BearerToken) -> Response:
    """End all sessions of the bearer, this one too."""
    ended = await run_signed_in(request, bearer, sessions.log_out_everywhere)
    return answer(SessionsEndedOut(sessions_ended=ended))
