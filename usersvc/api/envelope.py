"""The outermost layer, plain ASGI: request id, headers, one log line, and an answer even to a crash."""

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usersvc import logs
from usersvc.api.errors import transport_failure

MOST_BODY_BYTES = 64 * 1024
MOST_HEADER_BYTES = 16 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

_log = logs.get("usersvc.request")


class Envelope:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        if scope["method"] == "HEAD":
            # Answered as GET; uvicorn, which keeps its own scope, leaves the body out.
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        request_id = _accepted(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        logs.bind_request(request_id)
        status, complete = 0, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                outgoing = MutableHeaders(scope=message)
                outgoing["X-Request-ID"] = request_id
                if scope["path"].startswith("/static/") and status < 400:
                    outgoing["Cache-Control"] = "public, max-age=3600"
                for name, value in self._headers.items():
                    outgoing.setdefault(name, value)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            refusal, receive = await _checked(scope, headers, receive)
            await (refusal or self._app)(scope, receive, send_with_headers)
        except ClientDisconnect:
            _log.debug("client left before its request was whole", path=scope["path"])
        except Exception:
            _log.exception("request crashed", path=scope["path"])
            if not status:
                await transport_failure(500)(scope, receive, send_with_headers)
            elif not complete:
                raise  # The answer has begun: only breaking the connection is honest.
        finally:
            _log_line(scope, status, begun)
            logs.clear_context()


def _accepted(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _checked(scope: Scope, headers: Headers, receive: Receive) -> tuple[Response | None, Receive]:
    """A refusal, or where to receive the body from; uvicorn holds that to its Content-Length."""
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MOST_HEADER_BYTES:
        return transport_failure(431), receive
    if _is_not_json(scope, headers):
        return transport_failure(415), receive
    if int(headers.get("content-length", "0")) > MOST_BODY_BYTES:
        return transport_failure(413), receive
    if "transfer-encoding" in headers:
        body = await _read(receive)
        return (transport_failure(413), receive) if body is None else (None, _replay(body, receive))
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
    route = scope.get("route")
    state = scope.get("state", {})
    _log.info(
        "request",
        method=scope["method"],
        # Never the query: the pages' links carry a token there.
        route=getattr(route, "path", scope["path"][:200]),
        status=status,
        ms=round((time.monotonic() - begun) * 1000, 1),
        user_id=state.get("user_id"),
    )
