"""The application put together."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from usersvc import __version__, configuration
from usersvc.api import (
    admin,
    attributes,
    audiences,
    audit,
    deletion,
    docs,
    errors,
    export,
    groups,
    health,
    login,
    me,
    metrics,
    oauth,
    pages,
    passwords,
    registration,
    service_accounts,
    sessions,
    well_known,
)
from usersvc.api.counting import Counts
from usersvc.api.deps import Face
from usersvc.api.document import document_of
from usersvc.api.envelope import Envelope
from usersvc.api.routing import ByPath
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
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]
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
        *(registration, login, sessions, audiences, passwords, me, export, deletion, admin, attributes),
        *(groups, service_accounts, audit, oauth, well_known, health, metrics, pages),
    )
    routes = [route for module in modules for route in module.router.routes]
    if with_docs:
        routes += docs.router.routes
    for route in routes:
        if isinstance(route, APIRoute):
            # Short names for generated clients: `log_in`, not `log_in_api_v1_auth_login_post`.
            route.operation_id = route.name
    app.router.routes += [ByPath(routes), *routes]
