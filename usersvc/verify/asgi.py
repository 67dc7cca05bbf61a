"""A middleware for any ASGI application, with or without a framework."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from .errors import InvalidToken, TokenError
from .verifier import TokenVerifier

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenMiddleware:
    """No request and no websocket gets by without a good token.

    The claims are `scope["usersvc"]`, and `request.state.usersvc` in Starlette and FastAPI. Paths of `public`
    pass unlooked at, with None there: exactly these, and all below those that end in a slash, except "/",
    which is the first page alone. Browsers send no token with a preflight, so CORS has to be answered further
    out.
    """

    def __init__(self, app: Application, verifier: TokenVerifier, *, public: Iterable[str] = ()) -> None:
        """Raises ValueError for a path without a slash in front, as of a text in the place of a list."""
        self._app, self._verifier = app, verifier
        self._public = frozenset(public)
        if not all(path.startswith("/") for path in self._public):
            raise ValueError("Public paths are a list, and each begins with a slash.")
        self._public_below = tuple(path for path in self._public - {"/"} if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            claims = None if self._is_public(scope["path"]) else await self._claims(scope)
        except TokenError as error:
            await _refuse(error, scope, receive, send)
            return
        state = {**scope.get("state", {}), "usersvc": claims}
        await self._app({**scope, "usersvc": claims, "state": state}, receive, send)

    async def _claims(self, scope: Scope) -> Any:
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        return await self._verifier.from_header_async(only_one(sent))

    def _is_public(self, path: str) -> bool:
        if path in self._public:
            return True
        # What an application might take for another path is below nothing.
        is_odd = "//" in path or "\\" in path or not {".", ".."}.isdisjoint(path.split("/"))
        return path.startswith(self._public_below) and not is_odd


def only_one(values: list[str]) -> str | None:
    """Raises InvalidToken where a header was sent twice: a proxy may have looked at the other."""
    if len(values) > 1:
        raise InvalidToken
    return values[0] if values else None


async def _refuse(error: TokenError, scope: Scope, receive: Receive, send: Send) -> None:
    """A websocket gets an answer of HTTP where the server can send one; else it is closed unopened, a 403."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        await receive()
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    body = json.dumps({"error": error.error, "error_description": str(error)}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers | error.headers).items()]
    await send({"type": f"{kind}.start", "status": error.status, "headers": raw})
    await send({"type": f"{kind}.body", "body": body})
