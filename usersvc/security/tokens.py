"""Access and refresh tokens: signed here, and believed only after every check.

RFC 7519, RFC 9068 (access tokens), RFC 8725 (what to check). PyJWT verifies the signature; it
ignores `typ`, accepts lists of audiences and reads its own clock, so the claims are checked here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from jwt.algorithms import HMACAlgorithm

from usersvc.errors import InvalidToken, TokenExpired
from usersvc.security.keys import KeyRing, Use
from usersvc.security.secrets import new_id

ACCESS_TYPE = "at+jwt"
REFRESH_TYPE = "rt+jwt"
LEEWAY_SECONDS = 30
_MOST_CHARACTERS = 8192
# Verifying one costs more than all the rest of a request; each takes about a kilobyte.
_MOST_KNOWN = 4096
_MOST_HEADERS = 64
_ACCESS_CLAIMS = (
    *("iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp"),
    *("role", "permissions"),
)
_ANY_CLAIMS = ("iss", "aud", "sub", "client_id", "jti", "iat", "nbf", "exp", "permissions")
_SERVICE_CLAIMS = (*_ANY_CLAIMS, "credential_id")
_REFRESH_CLAIMS = ("iss", "aud", "sub", "sid", "seq", "rnd", "iat", "exp")


class _OwnSecrets(HMACAlgorithm):
    """Random bytes that were made here; PyJWT looks each time whether they are a PEM, a DER, a JWK."""

    def prepare_key(self, key: str | bytes) -> bytes:
        assert isinstance(key, bytes)
        return key


_jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})
_jws.unregister_algorithm("HS256")
_jws.register_algorithm("HS256", _OwnSecrets(HMACAlgorithm.SHA256))


@dataclass(frozen=True)
class AccessClaims:
    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class IssuedClaims:
    """Of an access token for other services, a user's or a service's."""

    subject: UUID
    session_id: UUID | None
    """Of a user's."""
    credential_id: UUID | None
    """Of a service's: what it was issued to."""
    client_id: str
    audience: str
    token_id: UUID
    issued_at: int
    expires_at: int
    permissions: list[str]


@dataclass(frozen=True)
class _Access:
    """What holds of a token at any time, and from when to when it is good."""

    claims: AccessClaims
    begins: int
    ends: int


@dataclass(frozen=True)
class RefreshClaims:
    user_id: UUID
    session_id: UUID
    seq: int
    rnd: str
    expires_at: int
    """Seconds since the epoch, as in the token."""


class Tokens:
    """Signs and reads the tokens of one issuer for one audience."""

    def __init__(self, ring: KeyRing, *, issuer: str, audience: str) -> None:
        self._key_ring = ring
        self._issuer = issuer
        self._audience = audience
        # Of this ring alone: another ring comes with another object. What is refused is not kept.
        self._known_access = lru_cache(_MOST_KNOWN)(self._verified_access)

    def sign_access(
        self,
        *,
        user_id: UUID,
        session_id: UUID,
        role: str,
        permissions: list[str],
        groups: list[str],
        at: datetime,
        expires_at: datetime,
        audience: str | None = None,
    ) -> str:
        """For usersvc's own routes, or for another audience, which is then the only one that takes it."""
        issued = int(at.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": audience or self._audience,
            "sub": str(user_id),
            "client_id": self._audience,
            "sid": str(session_id),
            "jti": str(new_id(at)),
            "iat": issued,
            "nbf": issued,
            "exp": int(expires_at.timestamp()),
            "role": role,
            "permissions": permissions,
        }
        # Left out where there are none: some readers of RFC 9068 refuse an empty list.
        if groups:
            claims["groups"] = groups
        return self._sign(Use.ACCESS, ACCESS_TYPE, claims, at)

    def sign_service(
        self,
        *,
        service_id: UUID,
        credential_id: UUID,
        audience: str,
        permissions: list[str],
        at: datetime,
        expires_at: datetime,
    ) -> str:
        """Of a service that acts for itself (RFC 9068, 2.2.3 and 5): no session, no role."""
        issued = int(at.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": str(service_id),
            "client_id": str(service_id),
            "credential_id": str(credential_id),
            "jti": str(new_id(at)),
            "iat": issued,
            "nbf": issued,
            "exp": int(expires_at.timestamp()),
            "permissions": permissions,
        }
        if permissions:
            claims["scope"] = " ".join(permissions)
        return self._sign(Use.ACCESS, ACCESS_TYPE, claims, at)

    def sign_refresh(
        self, *, user_id: UUID, session_id: UUID, seq: int, rnd: str, at: datetime, expires_at: datetime
    ) -> str:
        """The same arguments give the same token, byte for byte: a repeated refresh answers alike."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "seq": seq,
            "rnd": rnd,
            "iat": int(at.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return self._sign(Use.REFRESH, REFRESH_TYPE, claims, at)

    def read_access(self, token: str, *, at: datetime) -> AccessClaims:
        """Raises InvalidToken or TokenExpired. Says nothing about whether the session still lives."""
        found = self._known_access(token)
        now = at.timestamp()
        if found.begins > now + LEEWAY_SECONDS:
            raise InvalidToken
        if found.ends + LEEWAY_SECONDS <= now:
            raise TokenExpired
        return found.claims

    def read_issued(self, token: str, *, audiences: Sequence[str], at: datetime) -> IssuedClaims:
        """An access token for one of these audiences, to its last second. Raises InvalidToken, TokenExpired.

        Says nothing about whether the session or the service still lives.
        """
        claims = self._verified(token, Use.ACCESS, ACCESS_TYPE, _ANY_CLAIMS, audiences)
        of_user = "sid" in claims
        if any(claims.get(name) is None for name in (_ACCESS_CLAIMS if of_user else _SERVICE_CLAIMS)):
            raise InvalidToken
        now, expires_at = at.timestamp(), _seconds(claims, "exp")
        if max(_seconds(claims, "iat"), _seconds(claims, "nbf")) > now + LEEWAY_SECONDS:
            raise InvalidToken
        if expires_at <= now:
            raise TokenExpired
        return IssuedClaims(
            subject=_uuid(claims, "sub"),
            session_id=_uuid(claims, "sid") if of_user else None,
            credential_id=None if of_user else _uuid(claims, "credential_id"),
            client_id=str(claims["client_id"]),
            audience=claims["aud"],
            token_id=_uuid(claims, "jti"),
            issued_at=claims["iat"],
            expires_at=expires_at,
            permissions=list(claims["permissions"]),
        )

    def read_refresh(self, token: str) -> RefreshClaims:
        """Raises InvalidToken. Does not look at the time: logging out works with an expired token too."""
        claims = self._verified(token, Use.REFRESH, REFRESH_TYPE, _REFRESH_CLAIMS)
        seq, rnd = claims["seq"], claims["rnd"]
        if type(seq) is not int or not 1 <= seq < 2**31 or not isinstance(rnd, str) or not rnd.isascii():
            raise InvalidToken
        _seconds(claims, "iat")
        return RefreshClaims(_uuid(claims, "sub"), _uuid(claims, "sid"), seq, rnd, _seconds(claims, "exp"))

    def _sign(self, use: Use, token_type: str, claims: dict[str, Any], at: datetime) -> str:
        key = self._key_ring.current(use, at)
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return _jws.encode(payload, key.private, key.algorithm, headers={"typ": token_type, "kid": key.kid})

    def _verified_access(self, token: str) -> _Access:
        claims = self._verified(token, Use.ACCESS, ACCESS_TYPE, _ACCESS_CLAIMS)
        return _Access(
            AccessClaims(_uuid(claims, "sub"), _uuid(claims, "sid")),
            begins=max(_seconds(claims, "iat"), _seconds(claims, "nbf")),
            ends=_seconds(claims, "exp"),
        )

    def _verified(
        self,
        token: str,
        use: Use,
        token_type: str,
        required: tuple[str, ...],
        audiences: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The claims behind a good signature of our key of this kid, with exactly its algorithm.

        Of a token for usersvc itself, unless other audiences are named.
        """
        if len(token) > _MOST_CHARACTERS:
            raise InvalidToken
        try:
            header = _header(token.partition(".")[0])
            kid = header.get("kid")
            key = self._key_ring.by_kid(kid, use) if isinstance(kid, str) else None
            if key is None or header.get("typ") != token_type:
                raise InvalidToken
            claims = json.loads(_jws.decode(token, key.verifier, algorithms=[key.algorithm]))
            if not isinstance(claims, dict) or any(claims.get(name) is None for name in required):
                raise InvalidToken
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        expected = [self._audience] if audiences is None else audiences
        if claims["iss"] != self._issuer or not any(claims["aud"] == audience for audience in expected):
            raise InvalidToken
        return claims


@lru_cache(_MOST_HEADERS)
def _header(segment: str) -> dict[str, Any]:
    """Ours are few, and alike in all tokens of a key."""
    return jwt.get_unverified_header(f"{segment}..")


def _seconds(claims: dict[str, Any], name: str) -> int:
    value = claims[name]
    if type(value) is not int or not 0 < value < 2**53:
        raise InvalidToken
    return value


def _uuid(claims: dict[str, Any], name: str) -> UUID:
    try:
        return UUID(claims[name])
    except (ValueError, AttributeError, TypeError):
        raise InvalidToken from None
