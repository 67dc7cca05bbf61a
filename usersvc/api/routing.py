"""How a request finds its route, and a route what it is handed."""

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from usersvc.api.deps import bearer_of


class ByPath(BaseRoute):
    """Stands before all others: finds those without parameters at once, where they would be tried in turn."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, APIRoute) and not route.param_convertors
            for method in route.methods or ()
        }

    @property
    def found(self) -> Collection[APIRoute]:
        return self._routes.values()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            return Match.NONE, {}
        return Match.FULL, {"endpoint": route.endpoint, "path_params": {}, "route": route}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        route: APIRoute = scope["route"]
        await route.handle(scope, receive, send)


class OfBearer(APIRoute):
    """Its endpoint takes the request and the bearer, and nothing else.

    It is handed them as they are: to find out from its signature what to hand in costs FastAPI as much as
    one row costs the database.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            answer: Response = await self.endpoint(request, await bearer_of(request))
            return answer

        return handle
