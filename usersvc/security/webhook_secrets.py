"""Secrets of webhooks, wrapped as the keys of the ring are: each is a key that signs, of one receiver."""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usersvc.security.keys import WrongSecret, derive, secret_check

_NONCE_BYTES = 12


class WebhookSecrets:
    """Wraps and opens them under a key derived from the secret key, which no rotation of the ring touches."""

    def __init__(self, secret_key: str) -> None:
        self.check = secret_check(secret_key)
        """What the database knows this secret key by."""
        self._cipher = AESGCM(derive(secret_key, b"usersvc/webhook-wrap/v1"))

    def wrap(self, webhook_id: UUID, secret: bytes) -> bytes:
        """AES-256-GCM, bound to the webhook, so that a row cannot take over another one's."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, webhook_id.bytes)

    def open(self, webhook_id: UUID, wrapped: bytes) -> bytes:
        """Raises WrongSecret where it was wrapped under another secret key, or changed."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], webhook_id.bytes)
        except (InvalidTag, ValueError):
            raise WrongSecret(str(webhook_id)) from None
