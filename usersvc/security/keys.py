"""Keys of the ring: made, wrapped under the secret key, opened again.

The secret key does this and nothing else: whoever copies the database holds only wrapped keys.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import ECAlgorithm

_NONCE_BYTES = 12


class Use(StrEnum):
    """What a key is for; no key is ever used for two things."""

    ACCESS = "access"
    REFRESH = "refresh"
    LINK = "link"
    CURSOR = "cursor"
    THROTTLE = "throttle"


@dataclass(frozen=True)
class Key:
    """`private` is an object of `cryptography` for ES256, bytes for the others."""

    kid: str
    use: Use
    algorithm: str
    private: Any = field(repr=False)
    public_jwk: dict[str, Any] | None = None

    @cached_property
    def verifier(self) -> Any:
        """What a signature is checked with; made once, because making it costs as much as a check."""
        return self.private if isinstance(self.private, bytes) else self.private.public_key()


class WrongSecret(Exception):
    """A wrapped key does not open under this secret key."""


class KeyRing:
    """The opened keys of one process: the current one of each use, and all by their kid."""

    def __init__(self, keys: Iterable[Key], *, current: Iterable[str]) -> None:
        self._by_kid = {key.kid: key for key in keys}
        self._current = {self._by_kid[kid].use: self._by_kid[kid] for kid in current}

    def current(self, use: Use) -> Key:
        return self._current[use]

    def by_kid(self, kid: str, use: Use) -> Key | None:
        key = self._by_kid.get(kid)
        return key if key and key.use == use else None

    def jwks(self) -> dict[str, Any]:
        """The public keys, for relying services (RFC 7517)."""
        return {
            "keys": [
                {**key.public_jwk, "kid": key.kid, "use": "sig", "alg": key.algorithm}
                for key in self._by_kid.values()
                if key.public_jwk
            ]
        }


def make_key(use: Use) -> Key:
    kid = secrets.token_urlsafe(12)
    if use is not Use.ACCESS:
        return Key(kid, use, "HS256", secrets.token_bytes(32))
    private = ec.generate_private_key(ec.SECP256R1())
    return Key(kid, use, "ES256", private, ECAlgorithm.to_jwk(private.public_key(), as_dict=True))


def wrap(key: Key, secret_key: str) -> bytes:
    """AES-256-GCM under a key derived from the secret key, bound to the key's id and public part."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_wrapping_key(secret_key)).encrypt(nonce, _private_bytes(key), _bound(key))


def unwrap(key: Key, wrapped: bytes, secret_key: str) -> Key:
    """`key` with its private part. Raises WrongSecret for another secret key or a changed row."""
    nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
    try:
        private = AESGCM(_wrapping_key(secret_key)).decrypt(nonce, sealed, _bound(key))
    except (InvalidTag, ValueError):
        raise WrongSecret(key.kid) from None
    opened = serialization.load_der_private_key(private, None) if key.algorithm == "ES256" else private
    return Key(key.kid, key.use, key.algorithm, opened, key.public_jwk)


def secret_check(secret_key: str) -> bytes:
    """What the database keeps to know its secret key again; tells nothing about it."""
    return derive(secret_key, b"usersvc/secret-check/v1")


def same_secret(secret_key: str, check: bytes) -> bool:
    return hmac.compare_digest(secret_check(secret_key), check)


def _wrapping_key(secret_key: str) -> bytes:
    return derive(secret_key, b"usersvc/key-wrap/v1")


def derive(secret_key: str, label: bytes) -> bytes:
    """A key of its own for each label; none tells anything of the others."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=label).derive(secret_key.encode())


def _private_bytes(key: Key) -> bytes:
    if isinstance(key.private, bytes):
        return key.private
    der: bytes = key.private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return der


def _bound(key: Key) -> bytes:
    return json.dumps([key.kid, key.use, key.algorithm, key.public_jwk], sort_keys=True).encode()
