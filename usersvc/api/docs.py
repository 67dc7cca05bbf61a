"""Swagger UI from the package's own files, and the OpenAPI document behind it."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)

_PAGE = (Path(__file__).parent / "templates" / "docs.html").read_text(encoding="utf-8")
_HEADERS = {
    # Swagger UI sets style attributes and shows its icons as data: addresses.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
}


@router.get("/")
async def home() -> Response:
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs() -> Response:
    return HTMLResponse(_PAGE, headers=dict(_HEADERS))
