"""What the C library and PHP programs keep: SHA-512 crypt (`$6$`) and phpass (`$P$`, `$H$`)."""

import re
from dataclasses import dataclass
from typing import Any

from passlib.hash import phpass, sha512_crypt

from usersvc.security.hashes import UnusableHash, require_most

MOST_SHA512_ROUNDS = 1_000_000
MOST_PHPASS_LOG_ROUNDS = 20
_SHA512 = re.compile(r"\$6\$(?:rounds=([1-9]\d{0,8})\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{86}")
_PHPASS = re.compile(r"\$[PH]\$([./A-Za-z0-9])[./A-Za-z0-9]{30}")
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class _Crypt:
    family: Any
    stored: str

    def matches(self, password: str) -> bool:
        return bool(self.family.verify(password, self.stored))


def parse(stored: str) -> _Crypt:
    if found := _SHA512.fullmatch(stored):
        require_most(int(found[1] or 0), MOST_SHA512_ROUNDS, "The number of rounds of SHA-512 crypt")
        sha512_crypt.from_string(stored)
        return _Crypt(sha512_crypt, stored)
    if found := _PHPASS.fullmatch(stored):
        log_rounds = _ALPHABET.index(found[1])
        require_most(log_rounds, MOST_PHPASS_LOG_ROUNDS, "The logarithm of the rounds of phpass")
        phpass.from_string(stored)
        return _Crypt(phpass, stored)
    raise UnusableHash("This is no whole hash of SHA-512 crypt or phpass.")
