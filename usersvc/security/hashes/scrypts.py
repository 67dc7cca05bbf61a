"""scrypt (RFC 7914): passlib's form, Django's, and Firebase's, which encrypts its signer key with the result.

Firebase's is kept as Supabase keeps it: `$fbscrypt$v=1,n=14,r=8,p=1,ss=..,sk=..$salt$hash`.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from usersvc.security.hashes import UnusableHash, require_most
from usersvc.security.hashes.encodings import decoded

MOST_BYTES = 256 * 1024 * 1024
_MOST_BYTES_OF_ALL = 512 * 1024 * 1024
_BASE64 = r"([A-Za-z0-9+/.=]+)"
_PASSLIB = re.compile(rf"\$scrypt\$ln=(\d{{1,2}}),r=(\d{{1,7}}),p=(\d{{1,7}})\${_BASE64}\${_BASE64}")
_DJANGO = re.compile(rf"scrypt\$(\d{{1,9}})\$([^$]{{1,128}})\$(\d{{1,7}})\$(\d{{1,7}})\${_BASE64}")
_FIREBASE = re.compile(
    rf"\$fbscrypt\$v=1,n=(\d{{1,2}}),r=(\d{{1,7}}),p=(\d{{1,7}})(?:,ss={_BASE64})?,sk={_BASE64}\${_BASE64}\${_BASE64}"
)


@dataclass(frozen=True)
class _Scrypt:
    n: int
    r: int
    p: int
    salt: bytes
    expected: bytes
    signer_key: bytes = b""
    """Firebase's alone."""

    def matches(self, password: str) -> bool:
        length = 32 if self.signer_key else len(self.expected)
        made = hashlib.scrypt(
            password.encode(),
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=2 * MOST_BYTES,
            dklen=length,
        )
        if self.signer_key:
            made = _encrypted(self.signer_key, made)
        return hmac.compare_digest(made, self.expected)


def parse(stored: str) -> _Scrypt:
    found = _parsed(stored)
    if found.n < 2 or found.n & (found.n - 1) or found.r < 1 or found.p < 1 or len(found.expected) < 16:
        raise UnusableHash("This is no whole hash of scrypt.")
    if found.n.bit_length() > 16 * found.r:
        raise UnusableHash("The N of scrypt is too large for its r (RFC 7914, 2).")
    memory = 128 * found.r * (found.n + found.p)
    require_most(memory, MOST_BYTES, "The memory of scrypt in bytes")
    require_most(memory * found.p, _MOST_BYTES_OF_ALL, "The memory of scrypt in bytes times its parallelism")
    return found


def _parsed(stored: str) -> _Scrypt:
    if found := _PASSLIB.fullmatch(stored):
        n, r, p = (int(found[part]) for part in (1, 2, 3))
        return _Scrypt(1 << n, r, p, decoded(found[4]), decoded(found[5]))
    if found := _DJANGO.fullmatch(stored):
        n, r, p = (int(found[part]) for part in (1, 3, 4))
        return _Scrypt(n, r, p, found[2].encode(), decoded(found[5]))
    if found := _FIREBASE.fullmatch(stored):
        n, r, p = (int(found[part]) for part in (1, 2, 3))
        salt = decoded(found[6]) + decoded(found[4] or "")
        return _Scrypt(1 << n, r, p, salt, decoded(found[7]), decoded(found[5]))
    raise UnusableHash("This is no whole hash of scrypt.")


def _encrypted(signer_key: bytes, derived: bytes) -> bytes:
    """AES-256 in counter mode from zero on, as in firebase/scrypt."""
    encryptor = Cipher(algorithms.AES(derived), modes.CTR(bytes(16))).encryptor()
    return encryptor.update(signer_key) + encryptor.finalize()
