"""The pages of links that need no password: a sentence and a button. Opening one consumes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import run
from usersvc.api.pages import failed, form_fields, page
from usersvc.core import Core
from usersvc.errors import DomainError, InvalidLink
from usersvc.services import email_change, login_alerts
from usersvc.services.actor import Actor

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _LinkPage:
    path: str
    purpose: str
    use_case: Callable[..., Any]
    template: str
    done: str


_CONFIRM = _LinkPage(
    "/confirm-email", "email_change", email_change.confirm, "confirm_email.html", "email_confirmed.html"
)
_RESTORE = _LinkPage(
    "/restore-email", "email_revert", email_change.restore, "restore_email.html", "shut_out.html"
)
_END_SESSION = _LinkPage(
    "/end-session", "login_revoke", login_alerts.end_session, "end_session.html", "shut_out.html"
)


@router.get(_CONFIRM.path)
async def show_confirm_email(request: Request, token: str = "") -> Response:
    return await _show(request, _CONFIRM, token)


@router.post(_CONFIRM.path)
async def confirm_email(request: Request) -> Response:
    return await _use(request, _CONFIRM)


@router.get(_RESTORE.path)
async def show_restore_email(request: Request, token: str = "") -> Response:
    return await _show(request, _RESTORE, token)


@router.post(_RESTORE.path)
async def restore_email(request: Request) -> Response:
    return await _use(request, _RESTORE)


@router.get(_END_SESSION.path)
async def show_end_session(request: Request, token: str = "") -> Response:
    return await _show(request, _END_SESSION, token)


@router.post(_END_SESSION.path)
async def end_session(request: Request) -> Response:
    return await _use(request, _END_SESSION)


async def _show(request: Request, of: _LinkPage, token: str) -> Response:
    try:
        await run(request, _look, token=token, purpose=of.purpose)
    except InvalidLink as error:
        return failed(error)
    return page(of.template, token=token)


async def _use(request: Request, of: _LinkPage) -> Response:
    form = await form_fields(request)
    try:
        await run(request, of.use_case, token=form.get("token", ""))
    except DomainError as error:
        return failed(error)
    return page(of.done)


def _look(core: Core, *, token: str, purpose: str, actor: Actor) -> None:
    email_change.require_link(core, token=token, purpose=purpose)
