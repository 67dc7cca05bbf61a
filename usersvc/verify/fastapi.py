"""Dependencies for FastAPI's HTTP routes. Websockets are TokenMiddleware's."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .asgi import only_one
from .claims import Claims
from .errors import TokenError
from .verifier import TokenVerifier

Dependency = Callable[..., Awaitable[Claims]]


class FastAPIAuth:
    """`Depends(auth.current_claims)` and `Depends(auth.require_permission("content:manage"))` are the claims.

    A refusal is an HTTPException with the status and the headers of its TokenError. Without waiting for keys,
    nothing of it leaves the event loop.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        # For the OpenAPI document of the service alone: its Swagger UI then asks for a token.
        scheme = HTTPBearer(auto_error=False, scheme_name="usersvc", bearerFormat="JWT")

        async def current_claims(
            request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]
        ) -> Claims:
            try:
                return await verifier.from_header_async(only_one(request.headers.getlist("authorization")))
            except TokenError as error:
                raise _refusal(error) from None

        self.current_claims: Dependency = current_claims

    def require_permission(self, permission: str) -> Dependency:
        """403 without it."""
        return self._requiring(lambda claims: claims.require_permission(permission))

    def require_role(self, role: str) -> Dependency:
        """403 below it, as `Claims.require_role`."""
        return self._requiring(lambda claims: claims.require_role(role))

    def _requiring(self, check: Callable[[Claims], None]) -> Dependency:
        async def required(claims: Annotated[Claims, Depends(self.current_claims)]) -> Claims:
            try:
                check(claims)
            except TokenError as error:
                raise _refusal(error) from None
            return claims

        return required


def _refusal(error: TokenError) -> HTTPException:
    return HTTPException(error.status, str(error), error.headers)
