"""Ids, random values and digests."""

import hashlib
import hmac
import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(at: datetime) -> UUID:
    """UUIDv7 with the part of the millisecond in its 12 bits (RFC 9562, 6.2, method 3).

    So ids sort by the time of making to the microsecond; an id, not a secret.
    """
    return UUID(int=first_id(at).int | int.from_bytes(os.urandom(8)) & (2**62 - 1))


def first_id(at: datetime) -> UUID:
    """The lowest id that can be made at this time: what is older has a lower one."""
    microseconds = max(0, (at - _EPOCH) // timedelta(microseconds=1))
    milliseconds, rest = divmod(microseconds, 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | rest * 4096 // 1000 << 64 | 0b10 << 62)


def digest(secret: str) -> bytes:
    """SHA-256 of a secret of full entropy: what a table may keep of it."""
    return hashlib.sha256(secret.encode()).digest()


def keyed_digest(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA-256 over the parts, unambiguous in where one ends."""
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hmac.digest(key, message, "sha256")
