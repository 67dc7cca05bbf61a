"""The application put together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from usersvc import __version__, configuration
from usersvc.api import (
    admin,
    audit,
    docs,
    errors,
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
        # Short names for generated clients: `log_in`, not `log_in_api_v1_auth_login_post`.
        generate_unique_id_function=lambda route: route.name,
    )
    counts = Counts(configuration.metrics_folder())
    core.hashing.observer = counts.hashing
    app.state.face = Face(core, counts=counts, draining=draining)
    errors.install(app)
    routers = (registration, login, sessions, passwords, me, admin, audit, well_known, health, metrics, pages)
    for module in routers:
        app.include_router(module.router)
    if core.settings.server.docs:
        app.include_router(docs.router)
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


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, plus the schema that the routes' failures refer to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema = Failure.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= schema.pop("$defs") | {"Failure": schema}
        app.openapi_schema = document
    return app.openapi_schema
