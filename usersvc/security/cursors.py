"""Cursors of lists: sealed, so that nobody reads an address out of one or makes one up."""

import base64
import binascii
import json
import os
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usersvc.security.keys import KeyRing, Use

_NONCE_BYTES = 12
_MOST_CHARACTERS = 2048


class BrokenCursor(Exception):
    """Not a cursor that this key ring sealed for this list."""


def seal(ring: KeyRing, of: str, payload: dict[str, str], *, at: datetime) -> str:
    """AES-256-GCM under the current cursor key, bound to the list that it is a cursor `of`."""
    key = ring.current(Use.CURSOR, at)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + AESGCM(key.private).encrypt(nonce, json.dumps(payload).encode(), of.encode())
    return f"{key.kid}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"


def unseal(ring: KeyRing, of: str, cursor: str) -> dict[str, Any]:
    """What was sealed. Raises BrokenCursor."""
    kid, _, text = cursor[:_MOST_CHARACTERS].partition(".")
    key = ring.by_kid(kid, Use.CURSOR)
    if key is None:
        raise BrokenCursor
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        opened = AESGCM(key.private).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], of.encode())
    except (InvalidTag, ValueError, binascii.Error):
        raise BrokenCursor from None
    payload: dict[str, Any] = json.loads(opened)
    return payload
