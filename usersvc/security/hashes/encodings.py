"""Base64 as hashes hold it: with or without padding, and passlib's with `.` in the place of `+`."""

import base64
import binascii

from usersvc.security.hashes import UnusableHash


def decoded(text: str) -> bytes:
    """Raises UnusableHash."""
    plain = text.replace(".", "+").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableHash("A part of this hash is no base64.") from None


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def adapted(data: bytes) -> str:
    """Passlib's ab64."""
    return unpadded(data).replace("+", ".")
