"""PBKDF2 (RFC 8018) as Django keeps it, `pbkdf2_sha256$iterations$salt$hash`, and as passlib does."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from usersvc.security.hashes import UnusableHash, require_most
from usersvc.security.hashes.encodings import decoded

MOST_ITERATIONS = 2_000_000
_DJANGO = re.compile(r"pbkdf2_(sha1|sha256|sha512)\$(\d{1,9})\$([^$]{1,128})\$([A-Za-z0-9+/=]+)")
_PASSLIB = re.compile(r"\$pbkdf2(?:-(sha256|sha512))?\$(\d{1,9})\$([A-Za-z0-9./]*)\$([A-Za-z0-9./]+)")


@dataclass(frozen=True)
class _Pbkdf2:
    digest_name: str
    iterations: int
    salt: bytes
    expected: bytes

    def matches(self, password: str) -> bool:
        made = hashlib.pbkdf2_hmac(
            self.digest_name, password.encode(), self.salt, self.iterations, len(self.expected)
        )
        return hmac.compare_digest(made, self.expected)


def parse(stored: str) -> _Pbkdf2:
    django = _DJANGO.fullmatch(stored)
    found = django or _PASSLIB.fullmatch(stored)
    if found is None:
        raise UnusableHash("This is no whole hash of PBKDF2.")
    name, iterations, salt, expected = found[1] or "sha1", int(found[2]), found[3], decoded(found[4])
    blocks = -(-len(expected) // hashlib.new(name, usedforsecurity=False).digest_size)
    require_most(iterations * blocks, MOST_ITERATIONS, "The number of iterations of PBKDF2")
    if iterations < 1 or len(expected) < 16:
        raise UnusableHash("This is no whole hash of PBKDF2.")
    return _Pbkdf2(name, iterations, salt.encode() if django else decoded(salt), expected)
