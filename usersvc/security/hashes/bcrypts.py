"""bcrypt ($2a$, $2b$, $2y$), and Django's form of it over SHA-256."""

import hashlib
import re
from dataclasses import dataclass

import bcrypt

from usersvc.security.hashes import UnusableHash, require_most

MOST_COST = 14
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}([./A-Za-z0-9])[./A-Za-z0-9]{31}")
# The last character of the salt has two bits: with any other the library refuses to verify.
_ENDS_A_SALT = ".Oeu"
_OVER_SHA256 = "bcrypt_sha256$"


@dataclass(frozen=True)
class _Bcrypt:
    stored: bytes
    over_sha256: bool

    def matches(self, password: str) -> bool:
        given = password.encode()
        if self.over_sha256:
            given = hashlib.sha256(given).hexdigest().encode()
        # bcrypt 5 raises above 72 bytes; whoever made this hash cut there.
        return bcrypt.checkpw(given[:72], self.stored)


def parse(stored: str) -> _Bcrypt:
    plain = stored.removeprefix(_OVER_SHA256)
    found = _BCRYPT.fullmatch(plain)
    if found is None or int(found[1]) < 4:
        raise UnusableHash("This is no whole hash of bcrypt.")
    require_most(int(found[1]), MOST_COST, "The cost of bcrypt")
    if found[2] not in _ENDS_A_SALT:
        raise UnusableHash("This is no whole hash of bcrypt.")
    return _Bcrypt(plain.encode(), over_sha256=plain != stored)
