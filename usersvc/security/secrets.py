"""Ids, random values and digests."""

import hashlib
import hmac
import os
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1) - 1


class _Ids:
    """Those of one microsecond grow, so that what one transaction writes keeps its order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moment = -1
        self._random = 0

    def new(self, moment: int) -> int:
        # A bit is left over, and each step is small: no moment can use them up.
        fresh = int.from_bytes(os.urandom(8)) & (2**61 - 1)
        with self._lock:
            self._random = self._random + 1 + (fresh & 0xFFFFFF) if moment == self._moment else fresh
            self._moment = moment
            return moment | self._random


_ids = _Ids()


def new_id(at: datetime) -> UUID:
    """UUIDv7 with the part of the millisecond in its 12 bits (RFC 9562, 6.2, methods 3 and 2).

    So ids sort by the time of making to the microsecond, and those of one process that were made for the
    same time by their making; an id, not a secret.
    """
    return UUID(int=_ids.new(first_id(at).int))


def first_id(at: datetime) -> UUID:
    """The lowest id that can be made at this time: what is older has a lower one."""
    microseconds = max(0, (at - _EPOCH) // timedelta(microseconds=1))
    milliseconds, rest = divmod(microseconds, 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | rest * 4096 // 1000 << 64 | 0b10 << 62)


def time_of(made: UUID) -> datetime:
    """When an id of `new_id` was made, to the microsecond; of any other id some time."""
    milliseconds, rest = min(made.int >> 80, _LAST), made.int >> 64 & 0xFFF
    return _EPOCH + timedelta(milliseconds=milliseconds, microseconds=-(-rest * 1000 // 4096))


def digest(secret: str) -> bytes:
    """SHA-256 of a secret of full entropy: what a table may keep of it."""
    return hashlib.sha256(secret.encode()).digest()


def keyed_digest(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA-256 over the parts, unambiguous in where one ends."""
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return hmac.digest(key, message, "sha256")
