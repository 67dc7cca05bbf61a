"""FastAPI's dependencies and the ASGI middleware: who gets by, and how the others are told."""

import asyncio
from typing import Annotated, Any
from urllib.parse import unquote

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from httpx2 import Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.verify.conftest import CLAIMS, NOW, World, signed
from usersvc.verify import Claims
from usersvc.verify.asgi import TokenMiddleware
from usersvc.verify.fastapi import FastAPIAuth

pytestmark = pytest.mark.sqlite

WRONG = 'Bearer error="invalid_token", error_description="This token is not valid here."'
EXPIRED = 'Bearer error="invalid_token", error_description="This token has expired."'
TOO_LITTLE = 'Bearer error="insufficient_scope", error_description="You may not do this."'


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _told(response: Response) -> tuple[int, str | None]:
    return response.status_code, response.headers.get("www-authenticate")


@pytest.fixture
def client(world: World) -> TestClient:
    app, auth = FastAPI(), FastAPIAuth(world.verifier)

    @app.get("/mine")
    async def mine(claims: Annotated[Claims, Depends(auth.current_claims)]) -> str:
        return claims.subject

    @app.get("/content", dependencies=[Depends(auth.require_permission("content:manage"))])
    async def content() -> str:
        return "content"

    @app.get("/users")
    async def users(claims: Annotated[Claims, Depends(auth.require_permission("users:read"))]) -> str:
        return claims.subject

    @app.get("/moderators")
    def moderators(claims: Annotated[Claims, Depends(auth.require_role("moderator"))]) -> str | None:
        return claims.role

    return TestClient(app)


def test_fastapi_lets_in_who_may(world: World, client: TestClient) -> None:
    headers = _bearer(signed(world.key))
    assert client.get("/mine", headers=headers).json() == CLAIMS["sub"]
    assert client.get("/content", headers=headers).json() == "content"
    assert client.get("/moderators", headers=headers).json() == "moderator"
    assert _told(client.get("/users", headers=headers)) == (403, TOO_LITTLE)
    admin = _bearer(signed(world.key, role="admin", permissions=["users:read"]))
    assert client.get("/users", headers=admin).json() == CLAIMS["sub"]
    assert client.get("/moderators", headers=admin).json() == "admin"
    user = _bearer(signed(world.key, role="user", permissions=[]))
    assert client.get("/mine", headers=user).status_code == 200
    for path in ("/content", "/users", "/moderators"):
        assert _told(client.get(path, headers=user)) == (403, TOO_LITTLE)
    assert world.publisher.asked == 1


@pytest.mark.parametrize("path", ["/mine", "/content", "/users", "/moderators"])
def test_fastapi_tells_the_others_why(world: World, client: TestClient, path: str) -> None:
    good = signed(world.key)
    expired = signed(world.key, exp=NOW - 30)
    assert _told(client.get(path)) == (401, "Bearer")
    assert _told(client.get(path, headers={"Authorization": f"Basic {good}"})) == (401, "Bearer")
    assert _told(client.get(path, headers=_bearer("garbage"))) == (401, WRONG)
    assert _told(client.get(path, headers=_bearer(signed(world.key, aud="other")))) == (401, WRONG)
    assert _told(client.get(path, headers=_bearer(expired))) == (401, EXPIRED)
    twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    assert _told(client.get(path, headers=twice)) == (401, WRONG)
    world.publisher.fail()
    world.age += 86400
    answer = client.get(path, headers=_bearer(good))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert good not in answer.text


def test_the_document_of_a_fastapi_service_asks_for_a_bearer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["usersvc"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    assert document["paths"]["/mine"]["get"]["security"] == [{"usersvc": []}]


@pytest.fixture
def guarded(world: World) -> TestClient:
    app = FastAPI()

    @app.get("/{path:path}")
    async def show(request: Request) -> dict[str, Any]:
        claims = request.state.usersvc
        assert request.scope["usersvc"] is claims
        return {"subject": claims and claims.subject}

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.usersvc.subject)
        await websocket.close()

    return TestClient(TokenMiddleware(app, world.verifier, public=["/healthz", "/static/"]))


def test_the_middleware_lets_nobody_by_without_a_token(world: World, guarded: TestClient) -> None:
    good = signed(world.key)
    assert guarded.get("/x", headers=_bearer(good)).json() == {"subject": CLAIMS["sub"]}
    for headers, challenge in (
        ({}, "Bearer"),
        (_bearer("garbage"), WRONG),
        (_bearer(signed(world.key, exp=NOW - 30)), EXPIRED),
        ([*_bearer(good).items(), *_bearer(good).items()], WRONG),
    ):
        answer = guarded.get("/x", headers=headers)
        assert _told(answer) == (401, challenge)
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.json()) == {"error", "error_description"}
    world.publisher.fail()
    world.age += 86400
    answer = guarded.get("/x", headers=_bearer(good))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_the_middleware_leaves_public_paths_alone_and_nothing_else(world: World, guarded: TestClient) -> None:
    for path in ("/healthz", "/static/", "/static/a/b.css"):
        assert guarded.get(path).json() == {"subject": None}
        assert guarded.get(path, headers=_bearer("garbage")).status_code == 200
    for path in (
        "/",
        "/static",
        "/healthz/",
        "/healthz/x",
        "/HEALTHZ",
        "/x/static/",
        "/staticx",
        "//healthz",
    ):
        assert guarded.get(path).status_code == 401, path
    for path in ("/static/../x", "/static/%2e%2e/x", "/static/./x", "/static//x", "/static/..%5Cx"):
        assert asyncio.run(_status(guarded.app, path)) == 401, path
    assert world.publisher.asked == 0


def test_the_first_page_made_public_opens_no_other(world: World) -> None:
    app = TokenMiddleware(_nothing, world.verifier, public=["/"])
    assert asyncio.run(_status(app, "/")) == 204
    assert asyncio.run(_status(app, "/x")) == 401


@pytest.mark.parametrize("public", ["/healthz", ["healthz"], [""]])
def test_public_paths_that_cannot_be_meant_are_refused(world: World, public: Any) -> None:
    with pytest.raises(ValueError, match="begins with a slash"):
        TokenMiddleware(_nothing, world.verifier, public=public)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _status(app: Any, path: str) -> int:
    """Of the path as it is, which a client would tidy up."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": unquote(path), "headers": [], "query_string": b""}
    await app(scope, lambda: asyncio.sleep(0, {"type": "http.request"}), send)
    return int(sent[0]["status"])


def test_a_websocket_without_a_token_never_opens(world: World, guarded: TestClient) -> None:
    with guarded.websocket_connect("/ws", headers=_bearer(signed(world.key))) as opened:
        assert opened.receive_text() == CLAIMS["sub"]
    for headers in ({}, _bearer("garbage")):
        with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers=headers):
            pass

    async def refused(extensions: dict[str, Any]) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/ws", "headers": [], "extensions": extensions}
        await guarded.app(scope, lambda: asyncio.sleep(0, {"type": "websocket.connect"}), send)
        return sent

    assert asyncio.run(refused({})) == [{"type": "websocket.close", "code": 1008}]
    start, body = asyncio.run(refused({"websocket.http.response": {}}))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert body["type"] == "websocket.http.response.body"


def test_what_is_no_request_passes(world: World) -> None:
    async def started(scope: Any, receive: Any, send: Any) -> None:
        assert scope == {"type": "lifespan"}
        await send({"type": "lifespan.startup.complete"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(
        TokenMiddleware(started, world.verifier)({"type": "lifespan"}, lambda: asyncio.sleep(0), send)
    )
    assert sent == [{"type": "lifespan.startup.complete"}]
