"""Whether the process lives, and whether it can serve."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from usersvc.api.deps import face_of, run
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
    face = face_of(request)
    if face.draining():
        return _unavailable("STOPPING", retry_after=1)
    problem = await face.readiness.problem(lambda: run(request, health.check_ready))
    if problem:
        return _unavailable(problem.code, retry_after=problem.retry_after or 1)
    return JSONResponse({"status": "ok"})


def _unavailable(reason: str, *, retry_after: int) -> Response:
    headers = {"Retry-After": str(retry_after)}
    return JSONResponse({"status": "unavailable", "reason": reason}, 503, headers)
