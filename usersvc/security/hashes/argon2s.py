"""Argon2 in its own form (RFC 9106, `$argon2id$v=19$m=..,t=..,p=..$salt$hash`): i, d and id."""

from dataclasses import dataclass

import argon2

from usersvc.security.hashes import UnusableHash, require_most

MOST_KIB = 256 * 1024
_MOST_KIB_OF_ALL_PASSES = 1024 * 1024
_MOST_LANES = 16


@dataclass(frozen=True)
class _Argon2:
    stored: str

    def matches(self, password: str) -> bool:
        try:
            return argon2.PasswordHasher().verify(self.stored, password)
        except argon2.exceptions.VerificationError:
            return False


def parse(stored: str) -> _Argon2:
    try:
        found = argon2.extract_parameters(stored)
    except argon2.exceptions.InvalidHashError:
        raise UnusableHash("This is no whole hash of Argon2.") from None
    require_most(found.memory_cost, MOST_KIB, "The memory of Argon2 in KiB")
    passes = found.memory_cost * found.time_cost
    require_most(passes, _MOST_KIB_OF_ALL_PASSES, "The memory of Argon2 in KiB times its passes")
    require_most(found.parallelism, _MOST_LANES, "The parallelism of Argon2")
    return _Argon2(stored)
