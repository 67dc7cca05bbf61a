"""Password hashes that other programs made: verified at a login, which then replaces them.

Each family is a module with `parse`, imported when a hash of it is met. A hash that would hold a core for
seconds or fill the memory is refused, before any work: whoever could bring one in would stop every login.
The password is taken as it was typed, without NFC, as the program hashed it that made the hash.
"""

from importlib import import_module
from typing import Protocol

from usersvc import logs

_log = logs.get("usersvc.security.hashes")

# How a stored form begins, and the module of its family.
_FAMILIES = {
    "$2": "bcrypts",
    "bcrypt_sha256$": "bcrypts",
    "$argon2": "argon2s",
    "$pbkdf2": "pbkdf2s",
    "pbkdf2_": "pbkdf2s",
    "$scrypt$": "scrypts",
    "scrypt$": "scrypts",
    "$fbscrypt$": "scrypts",
    "$6$": "crypts",
    "$P$": "crypts",
    "$H$": "crypts",
}


class UnusableHash(ValueError):
    """Why nobody can be let in with this hash; says nothing of what is in it."""


class Hash(Protocol):
    def matches(self, password: str) -> bool: ...


def parse(stored: str) -> Hash:
    """Raises UnusableHash for what is damaged, beyond bounds or of no family that is known here."""
    if not stored.isascii() or not stored.isprintable():
        raise UnusableHash("A password hash is printable ASCII.")
    for begins, family in _FAMILIES.items():
        if stored.startswith(begins):
            module = import_module(f"usersvc.security.hashes.{family}")
            try:
                parsed: Hash = module.parse(stored)
            except UnusableHash:
                raise
            except (ValueError, TypeError, OverflowError):
                raise UnusableHash(f"This is no whole hash of the form {begins}.") from None
            return parsed
    raise UnusableHash("This is no form of a password hash that is known here.")


def matches(password: str, stored: str) -> bool:
    """As slow as the program that made the hash chose. False, and logged, for what `parse` refuses.

    So is what a library refuses only when it verifies: a crash would tell which accounts have such a hash.
    """
    try:
        return parse(stored).matches(password)
    except (UnusableHash, ValueError, MemoryError) as error:
        reason = str(error) if isinstance(error, UnusableHash) else type(error).__name__
        _log.warning("a stored password hash cannot be used", reason=reason)
        return False


def require_most(value: int, most: int, what: str) -> None:
    """Raises UnusableHash where the work is beyond what a login may cost."""
    if value > most:
        raise UnusableHash(f"{what} is more than {most:,}, which a login must not cost.")
