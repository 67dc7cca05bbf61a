"""What relying services need to check access tokens by themselves."""

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import face_of

router = APIRouter(tags=["keys"])


_ANSWER = {
    "description": "A set of keys; which one a token was signed with stands in its header as `kid`.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "title": "JSON Web Key Set",
                "required": ["keys"],
                "properties": {
                    "keys": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "title": "JSON Web Key",
                            "required": ["kty", "kid", "use", "alg"],
                            "properties": {name: {"type": "string"} for name in ("kty", "kid", "use", "alg")},
                        },
                    }
                },
            }
        }
    },
}


@router.get(
    "/.well-known/jwks.json", summary="Public keys", response_class=Response, responses={200: _ANSWER}
)
async def jwks(request: Request) -> Response:
    """The public keys of access tokens (RFC 7517)."""
    body = json.dumps(face_of(request).core.key_ring.jwks())
    return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})
