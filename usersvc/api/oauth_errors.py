"""Failures as OAuth's standards have them (RFC 6749, 5.2), for everything under /oauth/ and nothing else."""

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from usersvc.errors import DomainError, InvalidClient, InvalidScope, Kind, MayNotRevoke, UnknownAudience

PATHS = "/oauth/"
# The standards' words for our facts.
_WORDS: dict[type[DomainError], tuple[int, str]] = {
    InvalidClient: (401, "invalid_client"),
    InvalidScope: (400, "invalid_scope"),
    UnknownAudience: (400, "invalid_target"),
    MayNotRevoke: (400, "unauthorized_client"),
}
_KINDS = {
    Kind.THROTTLED: (429, "temporarily_unavailable"),
    Kind.UNAVAILABLE: (503, "temporarily_unavailable"),
}


class OAuthFailure(BaseModel):
    error: str = Field(description="What a program decides by.")
    error_description: str = Field(description="For a person.")


class OAuthRefusal(Exception):
    """What a request of OAuth's is refused with before any use case is asked."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


def is_oauth(path: str) -> bool:
    return path.startswith(PATHS)


def refused(error: OAuthRefusal) -> Response:
    return _response(error.status, error.error, str(error))


def oauth_failure(error: DomainError) -> Response:
    status, word = _WORDS.get(type(error)) or _KINDS.get(error.kind) or (400, "invalid_request")
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _response(status, word, str(error), headers)


def oauth_transport_failure(status: int, description: str, headers: dict[str, str] | None = None) -> Response:
    word = "server_error" if status >= 500 else "invalid_request"
    return _response(status, word, description, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route for the OpenAPI document; what every one can answer with is added."""
    said = {
        400: "`invalid_request`, `invalid_scope`, `invalid_target`, `unsupported_grant_type`, "
        "`unauthorized_client`",
        401: "`invalid_client`",
        413: "`invalid_request`: the body is too large",
        429: "`temporarily_unavailable`: too many failures of this client or network",
        500: "`server_error`",
        503: "`temporarily_unavailable`",
    }
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": OAuthFailure, "description": said[status]} for status in (*statuses, 413, 500, 503)
    }
    if 401 in found:
        found[401]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    for status in {429, 503} & set(found):
        found[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _response(
    status: int, error: str, description: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    headers = dict(headers or {})
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="usersvc", charset="UTF-8"'
    return JSONResponse({"error": error, "error_description": description}, status, headers)
