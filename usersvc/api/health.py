"""Whether the process lives, and whether it can serve."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from usersvc.api.deps import face_of, run
from usersvc.errors import DomainError
from usersvc.services import health

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Does the process live?", response_class=JSONResponse)
async def live() -> Response:
    """The process answers. Touches nothing, so that a slow database restarts nobody."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it serve?",
    response_class=JSONResponse,
    responses={503: {"description": "Not now: the database cannot be written, or the process is stopping."}},
)
async def ready(request: Request) -> Response:
    """The database takes writes, its schema is current, and the process is not about to stop."""
    if face_of(request).draining():
        return JSONResponse({"status": "unavailable", "reason": "STOPPING"}, 503)
    try:
        await run(request, health.check_ready)
    except DomainError as error:
        return JSONResponse({"status": "unavailable", "reason": error.code}, 503)
    return JSONResponse({"status": "ok"})
