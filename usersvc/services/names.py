"""E-mail addresses and usernames: what is accepted, and what counts as the same."""

import re
from dataclasses import dataclass

from usersvc.errors import InvalidEmail, InvalidUsername

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
# Appended to a special-use domain for the check, which knows no other way to accept one.
_ORDINARY = ".com"


@dataclass(frozen=True)
class Address:
    email: str
    """The normal form, its domain as A-labels: what mail is sent to."""
    key: str
    """What decides sameness, on every database alike."""


def parse_email(text: str, *, special_domains: bool = False) -> Address:
    """Raises InvalidEmail, with a reason. Non-ASCII local parts are refused (they have look-alikes)."""
    from email_validator import EmailNotValidError, validate_email

    suffix = _ORDINARY if special_domains and _needs_suffix(text) else ""
    try:
        found = validate_email(text + suffix, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidEmail(str(error)) from None
    email = (found.ascii_email or "").removesuffix(suffix)
    return Address(email, email.lower())


def parse_username(text: str) -> str:
    """Lower case, so that two spellings are one name. Raises InvalidUsername."""
    username = text.lower() if text.isascii() else ""
    if not _USERNAME.fullmatch(username) or _UUID.fullmatch(username):
        raise InvalidUsername
    return username


def _needs_suffix(text: str) -> bool:
    last = text.rpartition("@")[2].rpartition(".")[2].lower()
    return last in ("test", "local", "localhost", "invalid", "internal", "onion", "arpa")
