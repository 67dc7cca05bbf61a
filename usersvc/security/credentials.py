"""The secret of a service: random, recognisable, and with a checksum against typing errors.

`usvc_`, 256 random bits as 43 digits of base 62, and their CRC-32 as 6: the form that GitHub gives its
tokens, so that scanners which look for leaked secrets can find one by its prefix and be sure of it.
"""

import re
import secrets
import zlib

PREFIX = "usvc_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 43
_CHECKSUM = 6
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECKSUM}}})")
_HINT = 4


def new_credential() -> str:
    random = _base_62(secrets.randbits(256), _RANDOM)
    return f"{PREFIX}{random}{_checksum(random)}"


def is_well_formed(text: str) -> bool:
    """Whether this can be a credential at all; what was mistyped is told without a look at the database."""
    found = _FORM.fullmatch(text)
    return found is not None and _checksum(found[1]) == found[2]


def hint_of(credential: str) -> str:
    """By which its owner knows it again in a list."""
    return credential[-_HINT:]


def _checksum(random: str) -> str:
    return _base_62(zlib.crc32(random.encode()), _CHECKSUM)


def _base_62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, rest = divmod(number, len(_DIGITS))
        digits = _DIGITS[rest] + digits
    return digits
