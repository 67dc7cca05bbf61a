"""Ids, random values and digests."""

import hashlib
import hmac
import os
from datetime import datetime
from uuid import UUID


def new_id(at: datetime) -> UUID:
    """UUIDv7 (RFC 9562): sortable by the time of making; an id, not a secret."""
    milliseconds = int(at.timestamp() * 1000) & (2**48 - 1)
    random = int.from_bytes(os.urandom(10))
    return UUID(
        int=milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (2**62 - 1)
    )


def digest(secret: str) -> bytes:
    """SHA-256 of a secret of full entropy: what a table may keep of it."""
    return hashlib.sha256(secret.encode()).digest()


def keyed_digest(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA-256 over the parts, unambiguous in where one ends."""
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hmac.digest(key, message, "sha256")
