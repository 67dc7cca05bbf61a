"""The signature of Standard Webhooks: HMAC-SHA-256 over id, time of the attempt and body, `v1`."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

_SECRET_BYTES = 32


def new_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def as_text(secret: bytes) -> str:
    """The secret as libraries of receivers take it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def signed_headers(
    secrets_: Iterable[bytes], *, message_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """One signature for each secret: while one replaces another, the receiver may have either."""
    timestamp = str(int(at.timestamp()))
    message = b".".join((message_id.encode(), timestamp.encode(), body))
    signatures = [base64.b64encode(hmac.digest(secret, message, "sha256")).decode() for secret in secrets_]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
