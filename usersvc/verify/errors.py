"""Why a token is refused, and how HTTP says it (RFC 6750, section 3)."""


class TokenError(Exception):
    """`str()` of it may be shown: it never repeats what was sent."""

    status = 401
    """The HTTP status that belongs to it."""
    error = "invalid_token"
    """The code of RFC 6750, or one like it."""
    message = "This token is not valid here."

    def __init__(self) -> None:
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer has to carry."""
        return {"WWW-Authenticate": f'Bearer error="{self.error}", error_description="{self.message}"'}


class TokenMissing(TokenError):
    """Nothing was sent that could be a token; the challenge then names no error."""

    error = "missing_token"
    message = "This needs an access token."

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class InvalidToken(TokenError):
    """Not usersvc's, not for this audience, not an access token, not whole, or not valid yet."""


class TokenExpired(InvalidToken):
    """All of it is right but for its end: a client gets a new one with its refresh token."""

    message = "This token has expired."


class PermissionMissing(TokenError):
    """The token is good; its bearer may not do this."""

    status = 403
    error = "insufficient_scope"
    message = "You may not do this."


class KeysUnavailable(TokenError):
    """The published keys cannot be had, so nothing is known about the token."""

    status = 503
    error = "temporarily_unavailable"
    message = "Tokens cannot be checked right now; try again shortly."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after
        """Seconds until the keys are asked for again."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}
