"""Whether the process lives, and whether it can serve."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from usersvc.api.deps import face_of, run
from usersvc.services import health

router = APIRouter(tags=["health"])


def _answer(description: str, *names: str) -> dict[str, Any]:
    """Of texts under these names, for the OpenAPI document."""
    schema = {"type": "object", "required": names, "properties": {name: {"type": "string"} for name in names}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@router.get(
    "/healthz",
    summary="Does the process live?",
    response_class=JSONResponse,
    responses={200: _answer("It lives.", "status")},
)
async def live() -> Response:
    """The process answers. Touches nothing, so that a slow database restarts nobody."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it serve?",
    response_class=JSONResponse,
    responses={
        200: _answer("It can.", "status"),
        503: _answer(
            "Not now: the database cannot be written, or the process is stopping.", "status", "reason"
        ),
    },
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
