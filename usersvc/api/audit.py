"""The audit, to be read and nothing else: no route changes or deletes an entry."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.paging import LINK, link_next
from usersvc.api.schemas import AuditEntryOut, AuditQuery, Success, answer
from usersvc.errors import Forbidden, InvalidCursor, InvalidToken, SessionEnded, TokenExpired
from usersvc.services import audit

router = APIRouter(prefix=f"{PREFIX}/admin", tags=["administration"])


@router.get(
    "/audit",
    summary="Read the audit",
    response_model=Success[list[AuditEntryOut]],
    responses={
        200: {"headers": LINK},
        **documented(InvalidToken, SessionEnded, TokenExpired, Forbidden, InvalidCursor),
    },
)
async def read_audit(
    query: Annotated[AuditQuery, Query()], request: Request, bearer: BearerToken
) -> Response:
    """What happened, the newest first. The next page is at the address in the `Link` header."""
    wanted = {"filters": query.filters(), "limit": query.limit, "cursor": query.cursor}
    page = await run_signed_in(request, bearer, audit.list_entries, on="long_reads", **wanted)
    response = answer([AuditEntryOut.model_validate(entry) for entry in page.entries])
    link_next(response, request, query.given(), page.next_cursor)
    return response
