"""Keys of the ring: made, wrapped under the secret key, opened again.

The secret key does this and nothing else: whoever copies the database holds only wrapped keys.
"""

import hmac
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from usersvc.errors import KeysUnavailable

_NONCE_BYTES = 12
_SYMMETRIC = "HS256"
_ALWAYS = datetime.min.replace(tzinfo=UTC)
# 3,072 bits are as strong as P-256 and Ed25519 (NIST SP 800-57, table 2).
_RSA_BITS = 3072


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, _RSA_BITS)


# Of access tokens, which others verify (RFC 7518, RFC 8037): what makes a key, and what writes it as a JWK.
ALGORITHMS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm.to_jwk),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm.to_jwk),
    "RS256": (_rsa_key, RSAAlgorithm.to_jwk),
}


class Use(StrEnum):
    """What a key is for; no key is ever used for two things."""

    ACCESS = "access"
    REFRESH = "refresh"
    LINK = "link"
    CURSOR = "cursor"
    THROTTLE = "throttle"


@dataclass(frozen=True)
class Key:
    """`private` is an object of `cryptography` for access tokens, bytes for all else."""

    kid: str
    use: Use
    algorithm: str
    private: Any = field(repr=False)
    public_jwk: dict[str, Any] | None = None
    signs_from: datetime = _ALWAYS

    @cached_property
    def verifier(self) -> Any:
        """What a signature is checked with; made once, because making it costs as much as a check."""
        return self.private if isinstance(self.private, bytes) else self.private.public_key()


class WrongSecret(Exception):
    """A wrapped key does not open under this secret key."""


class KeyRing:
    """The opened keys of one process: which of them signs at what time, and all by their kid."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_kid = {key.kid: key for key in keys}
        self._of_use: dict[Use, list[Key]] = {}
        for key in sorted(self._by_kid.values(), key=lambda key: key.signs_from):
            self._of_use.setdefault(key.use, []).append(key)

    @property
    def keys(self) -> Collection[Key]:
        return self._by_kid.values()

    def current(self, use: Use, at: datetime) -> Key:
        """The key that signs at this time: the last that had begun to. Raises KeysUnavailable without any.

        The same for every process that holds the same keys, so that all change over at the same moment.
        """
        keys = self._of_use.get(use)
        if not keys:
            raise KeysUnavailable(retry_after=30)
        for key in reversed(keys):
            if key.signs_from <= at:
                return key
        return keys[0]

    def by_kid(self, kid: str, use: Use) -> Key | None:
        key = self._by_kid.get(kid)
        return key if key and key.use == use else None

    def jwks(self) -> dict[str, Any]:
        """The public keys, for relying services (RFC 7517): also those that sign later or no longer."""
        return {
            "keys": [
                {**key.public_jwk, "kid": key.kid, "use": "sig", "alg": key.algorithm}
                for key in self._by_kid.values()
                if key.public_jwk
            ]
        }


def make_key(use: Use, algorithm: str = "ES256", *, signs_from: datetime = _ALWAYS) -> Key:
    """A new key; `algorithm` is one of ALGORITHMS, for access tokens alone. RS256 takes a moment."""
    kid = secrets.token_hex(8)  # None that a shell could take for an option.
    if use is not Use.ACCESS:
        return Key(kid, use, _SYMMETRIC, secrets.token_bytes(32), signs_from=signs_from)
    make, to_jwk = ALGORITHMS[algorithm]
    private = make()
    public_jwk = to_jwk(private.public_key(), as_dict=True)
    public_jwk.pop("key_ops", None)  # Of RSA alone; `use` says it for all.
    return Key(kid, use, algorithm, private, public_jwk, signs_from)


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
    opened = private if key.algorithm == _SYMMETRIC else serialization.load_der_private_key(private, None)
    return replace(key, private=opened)


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
