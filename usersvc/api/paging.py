"""The next page of a list, told in a `Link` header (RFC 8288)."""

from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response

from usersvc.api.deps import face_of

LINK = {
    "Link": {
        "description": 'The next page (RFC 8288, `rel="next"`); absent on the last one.',
        "schema": {"type": "string"},
    }
}


def link_next(response: Response, request: Request, given: dict[str, Any], next_cursor: str | None) -> None:
    """Under `public_url`, with what was `given` in the query of this page."""
    if next_cursor is None:
        return
    here = face_of(request).core.settings.public_url + request.url.path
    response.headers["Link"] = f'<{here}?{urlencode(given | {"cursor": next_cursor})}>; rel="next"'
