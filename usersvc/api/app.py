"""The application put together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from usersvc import __version__, configuration
from usersvc.api import (
    admin,
    audit,
    docs,
    errors,
    groups,
    health,
    login,
    me,
    metrics,
    pages,
    passwords,
    registration,
    sessions,
    well_known,
)
from usersvc.api.counting import Counts
from usersvc.api.deps import Face
from usersvc.api.envelope import Envelope
from usersvc.api.routing import ByPath
from usersvc.api.schemas import Failure
from usersvc.core import Core
from usersvc.setting_types import comma_list


def create_app(core: Core, *, draining: Callable[[], bool] = lambda: False) -> ASGIApp:
    """The ASGI application over a core whose key ring is open; `draining` is asked by /readyz."""
    app = FastAPI(
        title="usersvc",
        version=__version__,
        summary="Users of other programs: registration, login, sessions, passwords.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if core.settings.server.docs else None,
        redirect_slashes=False,
        # A provider that somebody installs around us would be sent the pages' queries, which hold tokens.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    counts = Counts(configuration.metrics_folder())
    core.hashing.observer = counts.hashing
    app.state.face = Face(core, counts=counts, draining=draining)
    errors.install(app)
    _add_routes(app, with_docs=core.settings.server.docs)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    server = core.settings.server
    return Envelope(
        app,
        https=core.settings.public_url.startswith("https://"),
        hosts=comma_list(server.allowed_hosts),
        origins=comma_list(server.cors_origins),
        answered=counts.requests.answered,
    )


def _add_routes(app: FastAPI, *, with_docs: bool) -> None:
    """Each of the application's own: those of routers in it would be searched router by router."""
    modules = (
        *(registration, login, sessions, passwords, me, admin, groups, audit),
        *(well_known, health, metrics, pages),
    )
    routes = [route for module in modules for route in module.router.routes]
    if with_docs:
        routes += docs.router.routes
    for route in routes:
        if isinstance(route, APIRoute):
            # Short names for generated clients: `log_in`, not `log_in_api_v1_auth_login_post`.
            route.operation_id = route.name
    app.router.routes += [ByPath(routes), *routes]


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, plus the schema that the routes' failures refer to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema = Failure.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= schema.pop("$defs") | {"Failure": schema}
        app.openapi_schema = document
    return app.openapi_schema
