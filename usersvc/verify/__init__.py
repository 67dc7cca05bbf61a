"""What a relying service checks usersvc's access tokens with, without calling back.

It needs PyJWT with cryptography and nothing else of usersvc; its imports are relative, so that the folder can
be copied. docs/relying-services.md shows it in FastAPI, Flask, Django and any other ASGI application.
"""

from .claims import ROLES, Claims
from .errors import (
    InvalidToken,
    KeysUnavailable,
    PermissionMissing,
    TokenError,
    TokenExpired,
    TokenMissing,
)
from .verifier import LEEWAY_SECONDS, TokenVerifier

__all__ = [
    "LEEWAY_SECONDS",
    "ROLES",
    "Claims",
    "InvalidToken",
    "KeysUnavailable",
    "PermissionMissing",
    "TokenError",
    "TokenExpired",
    "TokenMissing",
    "TokenVerifier",
]
