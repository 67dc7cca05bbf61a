"""The one place that turns a fact into a status, and any failure into the envelope."""

import json
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from usersvc.api.oauth_errors import (
    OAuthRefusal,
    is_oauth,
    oauth_failure,
    oauth_transport_failure,
    refused,
)
from usersvc.errors import DomainError, Kind

STATUS = {
    Kind.INVALID: 422,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.THROTTLED: 429,
    Kind.UNAVAILABLE: 503,
}

# What HTTP itself can answer, in no other face.
TRANSPORT = {
    400: ("BAD_REQUEST", "This request cannot be understood."),
    404: ("NOT_FOUND", "There is nothing at this address."),
    405: ("METHOD_NOT_ALLOWED", "This address does not take this method."),
    408: ("REQUEST_TIMEOUT", "The request took too long to arrive."),
    413: ("BODY_TOO_LARGE", "The body is too large: at most 64 KiB."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Send JSON, with Content-Type: application/json."),
    421: ("MISDIRECTED_REQUEST", "This host is not served here."),
    431: ("HEADERS_TOO_LARGE", "The headers are too large: at most 16 KiB."),
    422: ("VALIDATION_ERROR", "The request does not have the right form."),
    500: ("INTERNAL_ERROR", "Something went wrong here; the request id helps to find out what."),
}


# More than any body of ours has; thousands of made-up fields are not answered with as many sentences.
MOST_FIELDS = 20


class FailureResponse(Response):
    media_type = "application/json"

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        error: dict[str, Any] = {"code": code, "message": message}
        if fields is not None:
            error["fields"] = fields
        headers = dict(headers or {})
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        # ASCII, so that a lone surrogate in the name of a field cannot break the answer.
        body = json.dumps({"success": False, "data": None, "error": error}, separators=(",", ":")).encode(
            "ascii"
        )
        super().__init__(body, status, headers)


def transport_failure(status: int, headers: dict[str, str] | None = None, *, path: str = "") -> Response:
    """Under a `path` of OAuth's in the form of its standards."""
    known = status if status in TRANSPORT else (500 if status >= 500 else 400)
    code, message = TRANSPORT[known]
    if is_oauth(path):
        return oauth_transport_failure(known, message, headers)
    return FailureResponse(known, code, message, headers=headers)


def failure(error: DomainError) -> FailureResponse:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    fields = [problem._asdict() for problem in error.fields] or None
    return FailureResponse(STATUS[error.kind], error.code, str(error), fields=fields, headers=headers)


def install(app: FastAPI) -> None:
    @app.exception_handler(DomainError)
    async def _on_fact(request: Request, error: DomainError) -> Response:
        return oauth_failure(error) if is_oauth(request.url.path) else failure(error)

    @app.exception_handler(OAuthRefusal)
    async def _on_oauth_refusal(_: Request, error: OAuthRefusal) -> Response:
        return refused(error)

    @app.exception_handler(HTTPException)
    async def _on_transport(request: Request, error: HTTPException) -> Response:
        return transport_failure(error.status_code, dict(error.headers or {}), path=request.url.path)

    @app.exception_handler(Exception)
    async def _on_bug(request: Request, __: Exception) -> Response:
        # Starlette raises it again after this answer; the envelope logs it.
        return transport_failure(500, path=request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _on_wrong_form(_: Request, error: RequestValidationError) -> Response:
        code, message = TRANSPORT[422]
        problems = error.errors()[:MOST_FIELDS]
        return FailureResponse(422, code, message, fields=[_field(problem) for problem in problems])


def _field(problem: dict[str, Any]) -> dict[str, str]:
    """Where it is wrong and how, never what was sent."""
    if problem["type"] == "json_invalid":
        return {"field": "body", "message": "This is not JSON."}
    path = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "There is no such field."
    if problem["type"] == "missing":
        message = "This field is required."
    return {"field": ".".join(path)[:64] or "body", "message": message}


def documented(*errors: type[DomainError], body: bool = True) -> dict[int | str, dict[str, Any]]:
    """The answers of a route for the OpenAPI document: each status with the codes it can carry.

    What every route can answer is added: wrong form, too large, overloaded, a bug.
    """
    codes: dict[int, list[str]] = {
        500: ["INTERNAL_ERROR"],
        503: ["DATABASE_BUSY", "DATABASE_UNAVAILABLE", "KEYS_UNAVAILABLE", "OVERLOADED"],
    }
    if body:
        for status in (400, 413, 415, 422):
            codes.setdefault(status, []).append(TRANSPORT[status][0])
    for error in errors:
        codes.setdefault(STATUS[error.kind], []).append(error.code)
    return {status: _documented_status(status, sorted(set(names))) for status, names in sorted(codes.items())}


def _documented_status(status: int, codes: list[str]) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Failure"}
    narrowed = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    found: dict[str, Any] = {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {"application/json": {"schema": {"allOf": [reference, narrowed]}}},
    }
    headers: dict[int, tuple[Literal["Retry-After", "WWW-Authenticate"], str]] = {
        401: ("WWW-Authenticate", "string"),
        429: ("Retry-After", "integer"),
        503: ("Retry-After", "integer"),
    }
    if status in headers:
        name, kind = headers[status]
        found["headers"] = {name: {"schema": {"type": kind}}}
    return found
