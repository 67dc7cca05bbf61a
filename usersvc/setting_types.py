"""What the value of a setting may be: types that check themselves, and the checks that others share."""

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

_CRON_FIELD = re.compile(r"(\*|\d{1,2}(-\d{1,2})?)(,\d{1,2}(-\d{1,2})?)*")
_CRON_STEP = re.compile(r"\*/(\d{1,2})")
_CRON_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ONE_ADDRESS = re.compile(r"[^<>@,\r\n]*<[^\s<>@,]+@[^\s<>@,]+>|[^\s<>@,]+@[^\s<>@,]+")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")
_AUDIENCE = re.compile(r"[!-~]{1,255}")
_PLACEHOLDER = re.compile(
    r"change.?me|placeholder|example|your.?secret|(?<![a-z0-9])(insert|todo|x{4,})(?![a-z0-9])", re.IGNORECASE
)


def _check_public_url(value: str) -> str:
    if value and not _is_http_address(value):
        raise ValueError("expected an address such as https://users.example.org")
    return value.rstrip("/")


def _check_secret(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and (problem := secret_key_problem(value.get_secret_value())):
        raise ValueError(problem)
    return value


def _check_bearer_token(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not _BEARER_TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError("expected at least 16 characters out of A-Z, a-z, 0-9 and ._~+/-")
    return value


def _check_folder(value: object) -> object:
    if not value:
        raise ValueError("expected a folder")
    return _check_path(value)


def _check_path(value: object) -> object:
    """Empty is none. What cannot be a path is told here, not by a traceback when it is used."""
    if not value:
        return None
    try:
        os.fspath(Path(str(value)).expanduser())
    except RuntimeError:
        raise ValueError("expected a path; there is no such home folder") from None
    if "\0" in str(value) or max(len(part.encode()) for part in Path(str(value)).parts or [""]) > 255:
        raise ValueError("expected a path that a file system can have")
    return value


def check_database_url(value: str) -> str:
    if not value or _is_postgresql_address(value):
        return value
    if not (value.startswith("sqlite:///") and len(value) > len("sqlite:///")):
        raise ValueError("expected sqlite:///FILE or postgresql://USER@HOST/NAME")
    if ":memory:" in value or "?" in value:
        raise ValueError("expected a plain file: sqlite:///FILE")
    return value


def _check_queue_url(value: str) -> str:
    if value and not _is_postgresql_address(value) and not _is_redis_address(value):
        raise ValueError("expected redis://HOST:PORT/NUMBER or postgresql://USER@HOST/NAME")
    return value


def _check_host(value: str) -> str:
    if value and not is_host(value):
        raise ValueError("expected a host alone, such as mail.example.org")
    return value


def _check_networks(value: str) -> str:
    try:
        for part in comma_list(value):
            ipaddress.ip_network(part)
    except ValueError:
        raise ValueError("expected addresses or networks such as 127.0.0.1, 10.0.0.0/8") from None
    return value


def _check_hosts(value: str) -> str:
    for host in comma_list(value):
        if not _is_address(host) and not _HOST_NAME.fullmatch(host.removeprefix("*.")):
            raise ValueError("expected hosts without a port, such as users.example.org, *.example.org")
    return value


def _check_origins(value: str) -> str:
    for origin in comma_list(value):
        if not _is_http_address(origin) or urlsplit(origin).path or "*" in origin:
            raise ValueError("expected origins as browsers send them, such as https://app.example.org")
    return value


def _check_audiences(value: str) -> str:
    names = names_of(value)
    if not all(_AUDIENCE.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise ValueError(
            "expected names without spaces, each once, such as billing, https://files.example.org"
        )
    return value


def _check_link(value: str) -> str:
    if value and ("{token}" not in value or not value.startswith(("http://", "https://"))):
        raise ValueError(
            "expected an address with {token} in it, such as https://app.example.org/activate#{token}"
        )
    return value


def _check_one_address(value: str) -> str:
    if not _ONE_ADDRESS.fullmatch(value):
        raise ValueError("expected one address, such as Example <no-reply@example.org>")
    return value


def _check_cron(value: str) -> str:
    fields = value.split()
    if len(fields) != len(_CRON_LIMITS) or not all(map(_is_cron_field, fields, _CRON_LIMITS)):
        raise ValueError('expected five fields in cron form, such as "0 * * * *"')
    return value


def _is_cron_field(text: str, limits: tuple[int, int]) -> bool:
    low, high = limits
    if step := _CRON_STEP.fullmatch(text):
        return 1 <= int(step[1]) <= high and high != 7  # the queue knows no steps of weekdays
    return bool(_CRON_FIELD.fullmatch(text)) and all(low <= int(n) <= high for n in re.findall(r"\d+", text))


PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
SecretKey = Annotated[SecretStr, AfterValidator(_check_secret)]
BearerToken = Annotated[SecretStr, AfterValidator(_check_bearer_token)]
Folder = Annotated[Path, BeforeValidator(_check_folder)]
OptionalPath = Annotated[Path | None, BeforeValidator(_check_path)]
DatabaseUrl = Annotated[str, AfterValidator(check_database_url)]
QueueUrl = Annotated[str, AfterValidator(_check_queue_url)]
Host = Annotated[str, AfterValidator(_check_host)]
Networks = Annotated[str, AfterValidator(_check_networks)]
Hosts = Annotated[str, AfterValidator(_check_hosts)]
Origins = Annotated[str, AfterValidator(_check_origins)]
Audiences = Annotated[str, AfterValidator(_check_audiences)]
LinkPattern = Annotated[str, AfterValidator(_check_link)]
OneAddress = Annotated[str, AfterValidator(_check_one_address)]
Cron = Annotated[str, AfterValidator(_check_cron)]


def comma_list(text: str) -> list[str]:
    """The parts of a setting that takes several, with commas between them; case matters in none."""
    return [part.strip().lower() for part in text.split(",") if part.strip()]


def names_of(text: str) -> list[str]:
    """As `comma_list`, where case matters."""
    return [part.strip() for part in text.split(",") if part.strip()]


def is_among(host: str, allowed: Iterable[str]) -> bool:
    """Whether `allowed` names this host; `*.example.org` names each below it, but not example.org."""
    host = host.lower()
    return any(host == one or (one[:2] == "*." and host.endswith(one[1:])) for one in allowed)


def secret_key_problem(text: str) -> str | None:
    """Why this cannot be the secret key, or None."""
    if len(text) < 32:
        return "expected at least 32 random characters"
    if len(set(text)) < 10 or _PLACEHOLDER.search(text):
        return "this is a placeholder, not a secret: make one with `openssl rand -base64 32`"
    return None


def open_to_others(path: Path, *, reading: bool) -> bool:
    """Whether others on this machine may write (or, with `reading`, read) this path; never on Windows."""
    return os.name == "posix" and bool(path.stat().st_mode & (0o077 if reading else 0o002))


def is_host(text: str) -> bool:
    return _is_address(text) or bool(_HOST_NAME.fullmatch(text))


def is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def without_password(url: str) -> str:
    """An address as it may be shown: `postgresql://usersvc:***@db.example.org/users`."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    name, colon, _ = user.partition(":")
    hidden = f"{name}:***" if colon else name
    # A password may stand among the parameters of libpq, too.
    path = re.sub(r"(password=)[^&]*", r"\1***", path)
    return f"{scheme}{separator}{hidden}{at}{host}{slash}{path}"


def is_postgresql(url: str) -> bool:
    return url.startswith("postgresql://")


def is_redis(url: str) -> bool:
    return url.startswith(("redis://", "rediss://"))


def _is_postgresql_address(text: str) -> bool:
    """As libpq takes it: host and port may be missing, or stand among the parameters."""
    return is_postgresql(text) and _is_address_of(text) and len(urlsplit(text).path) > 1


def _is_redis_address(text: str) -> bool:
    return is_redis(text) and _is_address_of(text) and bool(urlsplit(text).hostname)


def _is_address_of(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        return urlsplit(text).port != 0
    except ValueError:  # a port that is none
        return False


def _is_http_address(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or any(mark in text for mark in " ?#@\\"):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
