"""The password policy, and the hash that is stored.

A password is normalised to NFC and otherwise taken as it is. Stored is
`usersvc1` + bcrypt over base64(HMAC-SHA-384("usersvc/password/v1", password)): the label is public,
no pepper, and its only work is that bcrypt, which stops at 72 bytes and at NUL, sees 64 harmless
bytes that depend on all of the password. Hashes that other programs made verify too
(security/hashes/), and the next login replaces them.
"""

import base64
import hmac
import os
import re
import time
import unicodedata
from dataclasses import dataclass

import bcrypt

from usersvc.errors import WeakPassword
from usersvc.security.hashing_pool import HashingPool, Turn

_LABEL = b"usersvc/password/v1"
_SCHEME = "usersvc1"
_MOST_BYTES = 1024
_COST = re.compile(r"(?:usersvc1)?\$2[aby]\$(\d\d)\$")
# What the settings may ask for.
_OWN = re.compile(r"usersvc1\$2b\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
_MOST_FOREIGN_COST = 14
_LOWEST_COST = 4
"""Of bcrypt itself."""
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Policy:
    min_length: int
    max_length: int
    min_score: int

    def check(self, password: str, *, email: str, username: str | None = None) -> None:
        """Raise WeakPassword with a reason that a person can act on (NIST SP 800-63B-4, 3.1.1.2)."""
        if is_too_large(password):
            raise WeakPassword(f"This password is too long: at most {self.max_length} characters.")
        # NUL would hash, but the API lets none in, so that nobody could log in with it.
        if not is_text(password) or "\0" in password:
            raise WeakPassword("This password holds a character that is not allowed.")
        password = normalise(password)
        if len(password) < self.min_length:
            raise WeakPassword(f"This password is too short: at least {self.min_length} characters.")
        if len(password) > self.max_length:
            raise WeakPassword(f"This password is too long: at most {self.max_length} characters.")
        names = _names(email, username)
        if any(name in password.lower() for name in names):
            raise WeakPassword("This password contains your e-mail address or username.")
        from usersvc.security import strength

        strength.check(password, names=names, min_score=self.min_score)


def normalise(password: str) -> str:
    """NFC, as RFC 8265 OpaqueString asks: the same key strokes give the same password everywhere."""
    return unicodedata.normalize("NFC", password)


def is_text(password: str) -> bool:
    """Without lone surrogates, which no encoding knows."""
    return not any("\ud800" <= character <= "\udfff" for character in password)


def is_too_large(password: str) -> bool:
    """Over the bytes that any password may have: refused before any work."""
    return len(password) > _MOST_BYTES or len(password.encode("utf-8", "replace")) > _MOST_BYTES


def hash_password(password: str, *, cost: int) -> str:
    """Slow on purpose (some 0.2 s at cost 12): run it on the hashing pool, outside a transaction."""
    return _SCHEME + bcrypt.hashpw(_shortened(password), bcrypt.gensalt(cost)).decode()


def verify_password(password: str, stored: str) -> bool:
    """As slow as hashing. False also for a form that is not known here, and for what is no text."""
    if not is_text(password):
        return False
    try:
        if stored.startswith(_SCHEME + "$2"):
            return bcrypt.checkpw(_shortened(password), stored.removeprefix(_SCHEME).encode())
    except ValueError:  # a damaged hash
        return False
    from usersvc.security import hashes

    return hashes.matches(password, stored)


def unusable(stored: str) -> str | None:
    """Why nobody could log in with this hash of whatever program; None where somebody can."""
    from usersvc.security import hashes

    if stored.startswith(_SCHEME):
        return None if _OWN.fullmatch(stored) else "This is no whole hash of usersvc."
    try:
        hashes.parse(stored)
    except hashes.UnusableHash as error:
        return str(error)
    return None


def verify_evenly(password: str, stored: str, *, cost: int) -> bool:
    """Verify, and let a wrong password take as long as a hash of the current cost would.

    Each step of cost doubles the work: what is missing from an older hash is one dummy of every
    cost between. The time then does not tell which accounts have not logged in for long. What others
    made with anything but bcrypt is filled up by the clock, so about as long; where it takes longer by
    itself, it does.
    """
    begun = time.perf_counter()
    matches = verify_password(password, stored)
    if matches:
        return True
    if _is_verified_bcrypt(stored):
        for missing in range(_cost_of(stored), cost):
            verify_password("", dummy_hash(cost=missing))
    else:
        _fill_up(time.perf_counter() - begun, cost=cost)
    return False


def _is_verified_bcrypt(stored: str) -> bool:
    is_own = stored.startswith(_SCHEME)
    return bool(_COST.match(stored)) and (is_own or _cost_of(stored) <= _MOST_FOREIGN_COST)


def _fill_up(spent: float, *, cost: int) -> None:
    """Dummies for what is left of the seconds that a hash of this cost takes here and now."""
    begun = time.perf_counter()
    lowest = max(_LOWEST_COST, cost - 4)
    verify_password("", dummy_hash(cost=lowest))
    one = time.perf_counter() - begun
    left = one * ((1 << cost - lowest) - 1) - spent
    for each in reversed(range(lowest, cost)):
        while left >= one * (1 << each - lowest):
            left -= one * (1 << each - lowest)
            verify_password("", dummy_hash(cost=each))


def needs_rehash(stored: str, *, cost: int) -> bool:
    """Whether the hash is of an older scheme or of a lower cost than a fresh one would be."""
    return not stored.startswith(f"{_SCHEME}$2b$") or _cost_of(stored) < cost


def dummy_hash(*, cost: int) -> str:
    """A hash nobody knows a password of, made without work: to verify where there is none."""
    salt_and_hash = "".join(_BCRYPT_ALPHABET[byte % 64] for byte in os.urandom(53))
    # The last characters of salt and hash carry fewer than six bits; "." is valid in both places.
    return f"{_SCHEME}$2b${cost:02d}${salt_and_hash[:21]}.{salt_and_hash[22:52]}."


class PasswordHasher:
    """Hashing and verifying in turns; `client` is whose share is used. May raise Overloaded."""

    def __init__(self, pool: HashingPool, *, cost: int) -> None:
        self._pool = pool
        self._cost = cost
        self._dummy = dummy_hash(cost=cost)

    def hash(self, password: str, *, client: str | None = None, turn: Turn = "ordinary") -> str:
        return self._pool.run(lambda: hash_password(password, cost=self._cost), client=client, turn=turn)

    def verify(
        self, password: str, stored: str | None, *, client: str | None = None, turn: Turn = "ordinary"
    ) -> bool:
        """Without a stored hash a dummy is verified, so that the time tells nothing; False then."""
        known = stored or self._dummy
        matches = self._pool.run(
            lambda: verify_evenly(password, known, cost=self._cost), client=client, turn=turn
        )
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        return needs_rehash(stored, cost=self._cost)


def _shortened(password: str) -> bytes:
    mac = hmac.digest(_LABEL, normalise(password).encode(), "sha384")
    return base64.b64encode(mac)


def _cost_of(stored: str) -> int:
    """The cost of a bcrypt hash; the lowest there is for anything else."""
    found = _COST.match(stored)
    return int(found[1]) if found else _LOWEST_COST


def _names(email: str, username: str | None) -> list[str]:
    """What of the person's names a password must not contain; very short ones would refuse too much."""
    candidates = [email.lower(), email.partition("@")[0].lower(), (username or "").lower()]
    return [name for name in dict.fromkeys(candidates) if len(name) >= 4]
