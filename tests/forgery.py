"""JSON Web Tokens as an attacker makes them: any header over any claims, and a good one made wrong."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization

from usersvc.security.keys import Key, KeyRing, Use, make_key

Sign = Callable[[bytes], bytes]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def newest(ring: KeyRing, use: Use) -> Key:
    return ring.current(use, datetime.max.replace(tzinfo=UTC))


def signing(key: Key) -> Sign:
    return lambda message: jwt.get_algorithm_by_name(key.algorithm).sign(message, key.private)


def hs256(secret: bytes) -> Sign:
    return lambda message: hmac.digest(secret, message, hashlib.sha256)


def forged(header: Any, claims: Any, sign: Sign) -> str:
    """Any header over any claims; texts are taken as they are, also where they are no good JSON."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    message = ".".join(b64(part.encode()) for part in parts)
    return f"{message}.{b64(sign(message.encode()))}"


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its header and its claims, unverified."""
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def public_pem(key: Key) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.private.public_key().public_bytes(serialization.Encoding.PEM, form))


def resigned(ring: KeyRing, use: Use, token: str, *, without: str = "", **claims: Any) -> str:
    """The same token with other claims, signed with our own key, as if we had made it."""
    header, found = parts_of(token)
    made = {name: value for name, value in {**found, **claims}.items() if name != without}
    return forged(header, made, signing(newest(ring, use)))


def forgeries(ring: KeyRing, use: Use, token: str) -> dict[str, str]:
    """Whatever can be made of a good token that is none any more, by what is wrong with it."""
    key, stranger = newest(ring, use), make_key(use)
    header, claims = parts_of(token)
    head, body, signature = token.split(".")
    sign, edited = signing(key), {**claims, "sub": str(uuid4())}
    published = newest(ring, Use.ACCESS)

    def headed(**changed: Any) -> str:
        return forged({**header, **changed}, claims, sign)

    made = {
        "alg none": forged({**header, "alg": "none"}, claims, lambda _: b""),
        "alg nOnE": forged({**header, "alg": "nOnE"}, claims, lambda _: b""),
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "edited": f"{head}.{b64(json.dumps(edited).encode())}.{signature}",
        "another key under our kid": forged(header, claims, signing(stranger)),
        "another key under its own kid": forged({**header, "kid": stranger.kid}, claims, signing(stranger)),
        "the public key as a secret": forged(
            {**header, "alg": "HS256", "kid": published.kid}, claims, hs256(public_pem(published))
        ),
        "the published key as a secret": forged(
            {**header, "alg": "HS256"}, claims, hs256(json.dumps(published.public_jwk).encode())
        ),
        "crit": headed(crit=["x"], x=1),
        "b64 false": headed(crit=["b64"], b64=False),
        "a key of its own": forged(
            {**header, "jwk": make_key(Use.ACCESS).public_jwk}, claims, signing(make_key(Use.ACCESS))
        ),
        "a key to be fetched": forged(
            {**header, "jku": "http://127.0.0.1:9/jwks.json", "x5u": "http://127.0.0.1:9/x", "kid": "x"},
            claims,
            signing(make_key(Use.ACCESS)),
        ),
        "kid unknown": headed(kid="unknown"),
        "kid as a path": headed(kid="../../../../dev/null"),
        "kid as SQL": headed(kid="x' OR '1'='1"),
        "kid a list": headed(kid=[key.kid]),
        "kid empty": headed(kid=""),
        "kid of another use": headed(kid=newest(ring, Use.LINK).kid),
        "typ JWT": headed(typ="JWT"),
        "another issuer": resigned(ring, use, token, iss="https://evil.example.net"),
        "issuer with a tail": resigned(ring, use, token, iss=f"{claims['iss']}.evil.example.net"),
        "issuer in a list": resigned(ring, use, token, iss=[claims["iss"]]),
        "another audience": resigned(ring, use, token, aud="other"),
        "audience in a list": resigned(ring, use, token, aud=[claims["aud"]]),
        "audience among others": resigned(ring, use, token, aud=[claims["aud"], "other"]),
        "end as a text": resigned(ring, use, token, exp=str(claims["exp"])),
        "too long": resigned(ring, use, token, more="x" * 9000),
    }
    made |= {f"without {name}": resigned(ring, use, token, without=name) for name in claims}
    return made
