"""The HTML pages that a mailed link lands on: no script, a strict CSP, nothing consumed by opening one."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from usersvc.api.deps import face_of, run
from usersvc.api.errors import STATUS
from usersvc.api.forms import NotAForm, read_form
from usersvc.core import Core
from usersvc.errors import DomainError, InvalidLink, PasswordRequired, WeakPassword
from usersvc.services import passwords, registration
from usersvc.services.actor import Actor

router = APIRouter(include_in_schema=False)

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


@router.get("/activate")
async def show_activate(request: Request, token: str = "") -> Response:
    try:
        needs_password = await run(request, _needs_password, on="hashing", token=token)
    except InvalidLink as error:
        return failed(error)
    return _activation_form(request, token, needs_password=needs_password)


@router.post("/activate")
async def activate(request: Request) -> Response:
    form = await form_fields(request)
    token, password = form.get("token", ""), form.get("password") or None
    try:
        account = await run(request, registration.activate, on="hashing", token=token, password=password)
    except (PasswordRequired, WeakPassword) as error:
        return _activation_form(request, token, needs_password=True, error=error)
    except DomainError as error:
        return failed(error)
    return page("activated.html", email=account.email)


@router.get("/reset-password")
async def show_reset_password(request: Request, token: str = "") -> Response:
    try:
        invited = await run(request, passwords.accepts_invitation, token=token)
    except InvalidLink as error:
        return failed(error)
    return _password_form(request, "reset_password.html", token, invited=invited)


@router.post("/reset-password")
async def reset_password(request: Request) -> Response:
    form = await form_fields(request)
    token, password = form.get("token", ""), form.get("password", "")
    try:
        invited = await run(request, passwords.accepts_invitation, token=token)
        await run(request, passwords.reset, on="hashing", token=token, new_password=password)
    except WeakPassword as error:
        return _password_form(request, "reset_password.html", token, error, invited=invited)
    except DomainError as error:
        return failed(error)
    return page("password_set.html", invited=invited)


def _needs_password(core: Core, *, token: str, actor: Actor) -> bool:
    return registration.needs_password(core, token=token)


def _activation_form(
    request: Request, token: str, *, needs_password: bool, error: DomainError | None = None
) -> Response:
    return _password_form(request, "activate.html", token, error, needs_password=needs_password)


def _password_form(
    request: Request, template: str, token: str, error: DomainError | None = None, **values: Any
) -> Response:
    return page(
        template,
        STATUS[error.kind] if error else 200,
        token=token,
        error=str(error) if error else "",
        min_length=face_of(request).core.policy.min_length,
        **values,
    )


def failed(error: DomainError) -> Response:
    response = page("failed.html", STATUS[error.kind], error=str(error), retry_after=error.retry_after)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def page(template: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(_templates.get_template(template).render(values), status, dict(_HEADERS))


async def form_fields(request: Request) -> dict[str, str]:
    """The first value of each field of an urlencoded form; empty for anything else, and for no text."""
    try:
        return {name: values[0] for name, values in (await read_form(request)).items()}
    except NotAForm:
        return {}
