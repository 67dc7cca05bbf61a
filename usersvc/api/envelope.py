"""The outermost layer, plain ASGI: request id, headers, one log line, and an answer even to a crash."""

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usersvc import logs
from usersvc.api.errors import transport_failure
from usersvc.setting_types import is_among

MOST_BODY_BYTES = 64 * 1024
MOST_HEADER_BYTES = 16 * 1024
# As nginx has it: the client was gone before there was an answer.
LEFT = 499
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_FOR_PROBES = ("/healthz", "/readyz", "/metrics")
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

_log = logs.get("usersvc.request")


@dataclass
class _Answer:
    """How far it has come."""

    status: int = 0
    complete: bool = False
    counted: bool = False


class Answered(Protocol):
    """Hears of each request as its answer ends; `route` is its template, None where none was found."""

    def __call__(self, *, method: str, route: str | None, status: int, seconds: float) -> None: ...


class Envelope:
    """Wraps the whole application. Pages of `origins` may call it from a browser."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        https: bool,
        answered: Answered,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._answered = answered
        self._hosts = hosts
        headers = SECURITY_HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if https else {})
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        # Around most refusals and the answer to a crash too: a page must be able to read those.
        self._inside: ASGIApp = _with_cors(self._respond, origins) if origins else self._respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        if scope["method"] == "HEAD":
            # Answered as GET; uvicorn, which keeps its own scope, leaves the body out.
            scope = {**scope, "method": "GET"}
        state, answer, headers = scope.setdefault("state", {}), _Answer(), Headers(scope=scope)
        # One is there where the protocol has refused the rest of this request already.
        request_id = state.setdefault("request_id", _accepted(headers.get("x-request-id")))
        state["answer"] = answer
        logs.bind_request(request_id)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                outgoing: list[tuple[bytes, bytes]] = message["headers"]
                if scope["path"].startswith("/static/") and answer.status < 400:
                    outgoing.append((b"cache-control", b"public, max-age=3600"))
                named = {name for name, _ in outgoing}
                outgoing.append((b"x-request-id", request_id.encode()))
                outgoing += [header for header in self._headers if header[0] not in named]
            answer.complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            if answer.complete:
                self._count(scope, answer, begun)  # First, so that who has all of it finds it counted.
            await send(message)

        try:
            # Before CORS: a preflight for a host that is not served here is none of ours either.
            await (_host_refusal(scope, headers, self._hosts) or self._inside)(
                scope, receive, send_with_headers
            )
        finally:
            self._count(scope, answer, begun)
            _log_line(scope, _status(scope, answer), begun)
            logs.clear_context()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: _Answer = scope["state"]["answer"]
        try:
            refusal, receive = await _checked(scope, receive)
            await (refusal or self._app)(scope, receive, send)
        except ClientDisconnect:
            _log.debug("client left before its request was whole", path=scope["path"])
        except Exception:
            _log.exception("request crashed", path=scope["path"])
            if not answer.status:
                await transport_failure(500, path=scope["path"])(scope, receive, send)
            elif not answer.complete:
                raise  # The answer has begun: only breaking the connection is honest.

    def _count(self, scope: Scope, answer: _Answer, begun: float) -> None:
        if answer.counted:
            return
        answer.counted = True
        # What is mounted (/static) is no route, but leaves its prefix here.
        route = getattr(scope.get("route"), "path", scope.get("root_path")) or None
        seconds = time.monotonic() - begun
        self._answered(method=scope["method"], route=route, status=_status(scope, answer), seconds=seconds)


def _status(scope: Scope, answer: _Answer) -> int:
    """What the client got: the protocol's refusal, if there was one."""
    refused: int | None = scope["state"].get("refused")
    return refused or answer.status or LEFT


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Bearer tokens travel in a header, so no browser is told to send credentials by itself."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
        expose_headers=("Link", "Retry-After", "X-Request-ID"),
        max_age=600,
    )


def _host_refusal(scope: Scope, headers: Headers, allowed: Sequence[str]) -> Response | None:
    """RFC 9112: exactly one Host. Probes call by an address, so what they ask is open to any."""
    named = headers.getlist("host")
    if len(named) > 1 or (not named and scope["http_version"] == "1.1"):
        return transport_failure(400)
    if not allowed or scope["path"] in _FOR_PROBES:
        return None
    return None if is_among(_without_port(named[0] if named else ""), allowed) else transport_failure(421)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    host = name if colon and port.isdecimal() else host
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def _accepted(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _checked(scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
    """A refusal, or where to receive the body from; uvicorn holds that to its Content-Length."""
    headers = Headers(scope=scope)
    if sum([len(name) + len(value) + 4 for name, value in scope["headers"]]) > MOST_HEADER_BYTES:
        return transport_failure(431), receive
    if _is_not_json(scope, headers):
        return transport_failure(415), receive
    if int(headers.get("content-length", "0")) > MOST_BODY_BYTES:
        return transport_failure(413, path=scope["path"]), receive
    if "transfer-encoding" in headers:
        body = await _read(receive)
        refusal = transport_failure(413, path=scope["path"]) if body is None else None
        return refusal, _replay(body or b"", receive)
    return None, receive


async def _read(receive: Receive) -> bytes | None:
    """A body of unknown length; None where it is too large, the rest is not read then."""
    body, more = b"", True
    while more and len(body) <= MOST_BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect  # Half a body is none, whatever it looks like.
        body += bytes(message.get("body", b""))
        more = message.get("more_body", False)
    return body if len(body) <= MOST_BODY_BYTES else None


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _is_not_json(scope: Scope, headers: Headers) -> bool:
    """A body that a browser could send across sites without asking (text/plain, a form) is no JSON."""
    if scope["method"] not in _WITH_BODY or not scope["path"].startswith("/api/"):
        return False
    media_type = headers.get("content-type")
    if media_type is None:
        return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return media_type.partition(";")[0].strip().lower() != "application/json"


def _log_line(scope: Scope, status: int, begun: float) -> None:
    if not logs.tells_info():
        return
    route = scope.get("route")
    user_id = scope["state"].get("user_id")
    _log.info(
        "request",
        method=scope["method"],
        # Never the query: the pages' links carry a token there.
        route=getattr(route, "path", scope["path"][:200]),
        status=status,
        ms=round((time.monotonic() - begun) * 1000, 1),
        user_id=user_id and str(user_id),
    )
