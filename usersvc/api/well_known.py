"""What relying services need to check access tokens by themselves."""

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import face_of

router = APIRouter(tags=["keys"])


@router.get("/.well-known/jwks.json", summary="Public keys", response_class=Response)
async def jwks(request: Request) -> Response:
    """The public keys of access tokens (RFC 7517)."""
    body = json.dumps(face_of(request).core.key_ring.jwks())
    return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})
