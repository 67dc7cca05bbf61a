"""The bearer's own data, whole."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.export_schemas import ExportOut
from usersvc.api.schemas import Success, answer
from usersvc.errors import InvalidToken, SessionEnded, TokenExpired, TooManyAttempts
from usersvc.services import export

router = APIRouter(prefix=PREFIX, tags=["own account"])


@router.get(
    "/users/me/export",
    summary="Export my data",
    response_model=Success[ExportOut],
    responses=documented(InvalidToken, SessionEnded, TokenExpired, TooManyAttempts, body=False),
)
async def export_me(request: Request, bearer: BearerToken) -> Response:
    """Everything that is held about me, the newest first: no secret, and nothing of other people."""
    found = await run_signed_in(request, bearer, export.export_own, on="long_reads")
    return answer(ExportOut.model_validate(found))
