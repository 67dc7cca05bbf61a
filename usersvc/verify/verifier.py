"""The checks of an access token: RFC 9068 (what it is), RFC 8725 (what to look at)."""

import re
import ssl
import time
from collections.abc import Callable
from typing import Any

import jwt

from .claims import Claims, claims_of, seconds, strict_json, text
from .errors import InvalidToken, TokenExpired, TokenMissing
from .keys import ALGORITHM_OF, MOST_OF_A_KID, Keys, checked_url, fetched, opener_of

LEEWAY_SECONDS = 30

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MOST_CHARACTERS = 8192
_REQUIRED = ("iss", "aud", "sub", "client_id", "jti", "iat", "exp")
# What wants one of these understood, or brings a key of its own, is no token of usersvc.
_NEVER_IN_A_HEADER = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip"})

_jws = jwt.PyJWS(algorithms=list(ALGORITHM_OF.values()))


class TokenVerifier:
    """Checks the access tokens of one issuer for one audience; one for all threads and tasks of a process.

    The keys are fetched when the first token comes, again when they are `lifetime_seconds` old (as their
    Cache-Control says), and besides at most once in `pause_seconds` for tokens whose key is unknown, whatever
    strangers send. A key that is published no more is good until the next fetch. Where a fetch fails, it is
    tried again after the pause, and the keys go on being used until they are `keep_seconds` old. A fetch
    follows no redirect, and is waited for `timeout_seconds` at most.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        jwks_url: str | None = None,
        allow_http: bool = False,
        proxies_of_environment: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        lifetime_seconds: float = 300,
        pause_seconds: float = 30,
        timeout_seconds: float = 5,
        keep_seconds: float = 86400,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ValueError where the keys are neither under https nor on this machine.

        `allow_http` takes them from elsewhere too: who is on the way then decides who gets in. HTTPS_PROXY
        and its like are looked at with `proxies_of_environment` alone. `clock` tells the seconds since the
        epoch that tokens are compared with, `timer` those by which keys grow old.
        """
        if not issuer or not audience:
            raise ValueError("A verifier needs an issuer and an audience.")
        self._issuer, self._audience, self._clock = issuer, audience, clock
        url = checked_url(jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json", allow_http=allow_http)
        opener = opener_of(ssl_context, with_proxies=proxies_of_environment)
        self._keys = Keys(
            lambda: fetched(opener, url, timeout_seconds),
            lifetime=lifetime_seconds,
            pause=pause_seconds,
            timeout=timeout_seconds,
            keep=keep_seconds,
            timer=timer,
        )

    def verify(self, token: str) -> Claims:
        """Raises InvalidToken, TokenExpired, KeysUnavailable. Waits where the keys have to be fetched."""
        header = _header(token)
        if fetch := self._keys.due(header["kid"]):
            self._keys.wait(fetch)
        return self._verified(token, header)

    async def verify_async(self, token: str) -> Claims:
        """As `verify`, without holding the event loop up; with the keys at hand it does not leave it."""
        header = _header(token)
        if fetch := self._keys.due(header["kid"]):
            await self._keys.wait_async(fetch)
        return self._verified(token, header)

    def from_header(self, authorization: str | None) -> Claims:
        """Of the value of an Authorization header. Raises what `verify` does, and TokenMissing."""
        return self.verify(_bearer(authorization))

    async def from_header_async(self, authorization: str | None) -> Claims:
        return await self.verify_async(_bearer(authorization))

    def _verified(self, token: str, header: dict[str, Any]) -> Claims:
        key = self._keys.at_hand(header["kid"])
        try:
            found = strict_json(_jws.decode(token, key.public, algorithms=[key.algorithm]))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        return self._checked(found)

    def _checked(self, found: dict[str, Any]) -> Claims:
        if any(found.get(name) is None for name in _REQUIRED):
            raise InvalidToken
        if found["iss"] != self._issuer or found["aud"] != self._audience:
            raise InvalidToken
        text(found["jti"])
        claims = claims_of(found)
        begins = max(seconds(found["iat"]), seconds(found.get("nbf", found["iat"])))
        now = self._clock()
        if begins > now + LEEWAY_SECONDS:
            raise InvalidToken
        # Last of all: a token that is wrong and expired is called wrong.
        if claims.expires_at + LEEWAY_SECONDS <= now:
            raise TokenExpired
        return claims


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise TokenMissing
    return token.strip(" ")


def _header(token: str) -> dict[str, Any]:
    """Of what looks like an access token; nothing in it is to be believed yet. Raises InvalidToken."""
    if not isinstance(token, str) or len(token) > _MOST_CHARACTERS or not _TOKEN.fullmatch(token):
        raise InvalidToken
    try:
        header = strict_json(jwt.utils.base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        raise InvalidToken from None
    kid = header.get("kid")
    if header.get("typ") != "at+jwt" or not isinstance(kid, str) or not 0 < len(kid) <= MOST_OF_A_KID:
        raise InvalidToken
    if not _NEVER_IN_A_HEADER.isdisjoint(header):
        raise InvalidToken
    return header
