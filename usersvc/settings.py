"""The settings of usersvc.toml and USERSVC_*, typed, each knowing where it came from.

Nothing is read at import; `configuration.load()` makes a Settings.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "USERSVC_"

_CRON_FIELD = re.compile(r"(\*|\d{1,2}(-\d{1,2})?)(,\d{1,2}(-\d{1,2})?)*|\*/\d{1,2}")
_PLACEHOLDER = re.compile(
    r"change.?me|placeholder|example|your.?secret|(?<![a-z0-9])(insert|todo|x{4,})(?![a-z0-9])", re.IGNORECASE
)


class SettingsError(Exception):
    """What is wrong with the settings, a line a mistake; nothing was started or changed."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Table):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="API processes.")
    public_url: str = Field(
        "",
        description="The address people reach the service under; links in mails begin with it. "
        "Empty: from host and port.",
    )
    data_dir: Path = Field(
        Path("data"),
        description="Folder for the embedded database, the queue, the secret key and mail files.",
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="At least 32 random characters that wrap the signing keys. "
        "Empty, and no file: made once, in the data directory.",
    )
    secret_key_file: Path | None = Field(
        None, description="File that holds the secret key instead, readable by its owner alone."
    )
    docs: bool = Field(True, description="Serve Swagger UI at /docs and the OpenAPI document.")
    worker: bool = Field(True, description="Run a worker (mail, periodic jobs) inside `usersvc serve`.")

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        if value and not _is_http_address(value):
            raise ValueError("expected an address such as https://users.example.org")
        return value.rstrip("/")

    @field_validator("secret_key")
    @classmethod
    def _is_strong(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and (problem := secret_key_problem(value.get_secret_value())):
            raise ValueError(problem)
        return value

    @field_validator("secret_key_file", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("data_dir", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if not value:
            raise ValueError("expected a folder")
        return value


class Database(Table):
    url: str = Field("", description="sqlite:///FILE. Empty: usersvc.db in the data directory.")

    @field_validator("url")
    @classmethod
    def _is_sqlite(cls, value: str) -> str:
        if value and not (value.startswith("sqlite:///") and len(value) > len("sqlite:///")):
            raise ValueError("expected sqlite:///FILE")
        if ":memory:" in value or "?" in value:
            raise ValueError("expected a plain file: sqlite:///FILE")
        return value


class Tokens(Table):
    issuer: str = Field("", description="`iss` of every token. Empty: server.public_url.")
    audience: str = Field("usersvc", min_length=1, description="`aud` of every token.")
    access_minutes: int = Field(10, ge=1, le=60, description="Life of an access token.")
    refresh_grace_seconds: int = Field(
        10, ge=0, le=60, description="For how long the last refresh token, sent again, gets the same answer."
    )


class Sessions(Table):
    idle_days: int = Field(
        14, ge=1, le=365, description="A session ends when it was not refreshed for so long."
    )
    absolute_days: int = Field(30, ge=1, le=365, description="A session ends so long after its login.")
    max_per_user: int = Field(
        20, ge=1, le=1000, description="One more login ends the least recently used session."
    )


class Passwords(Table):
    min_length: int = Field(12, ge=8, le=64, description="Fewest characters.")
    max_length: int = Field(256, ge=64, le=256, description="Most characters.")
    min_score: int = Field(3, ge=0, le=4, description="Lowest zxcvbn score that is accepted.")
    bcrypt_cost: int = Field(12, ge=10, le=16, description="Each step doubles the time that a check takes.")


class Registration(Table):
    enabled: bool = Field(True, description="Whether strangers may register.")
    activation: bool = Field(
        True,
        description="Whether an account is activated by mail. "
        "Off: it is active at once, and registration tells taken addresses.",
    )
    tell_pending: bool = Field(
        False,
        description="Whether a login with the right password tells that the account awaits activation. "
        "It tells strangers that somebody registered there.",
    )
    special_domains: bool = Field(
        False, description="Whether addresses under .local, .test and other special-use domains are accepted."
    )
    activation_hours: int = Field(24, ge=1, le=168, description="Life of an activation link.")


class Mail(Table):
    transport: Literal["file", "console"] = Field(
        "file",
        description="Where mail goes: `file` (mail/ in the data directory) or `console` (standard output).",
    )
    from_address: str = Field("usersvc <no-reply@localhost>", description="Sender of every mail.")
    templates_dir: Path | None = Field(
        None, description="Folder whose templates replace the built-in ones of the same name."
    )
    activate_link: str = Field(
        "",
        description="A page of your own to open activation links, `{token}` in it. "
        "Empty: usersvc's own page.",
    )

    @field_validator("templates_dir", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("activate_link")
    @classmethod
    def _has_token(cls, value: str) -> str:
        if value and ("{token}" not in value or not value.startswith(("http://", "https://"))):
            raise ValueError(
                "expected an address with {token} in it, such as https://app.example.org/activate#{token}"
            )
        return value

    @field_validator("from_address")
    @classmethod
    def _is_one_address(cls, value: str) -> str:
        if not re.fullmatch(r"([^<>@,\r\n]*<[^\s<>@,]+@[^\s<>@,]+>|[^\s<>@,]+@[^\s<>@,]+)", value):
            raise ValueError("expected one address, such as Example <no-reply@example.org>")
        return value


class Throttle(Table):
    mail_seconds: int = Field(
        60, ge=0, le=3600, description="Pause between two mails of one kind to one address."
    )
    mails_per_hour: int = Field(5, ge=1, le=1000, description="Mails of one kind to one address in an hour.")


class Retention(Table):
    purge_schedule: str = Field("0 * * * *", description="When to purge, in cron form (UTC).")
    pending_days: int = Field(
        7, ge=1, le=365, description="Never activated accounts live so long after their last registration."
    )
    sessions_days: int = Field(30, ge=0, le=3650, description="Ended sessions stay so long.")
    outbox_days: int = Field(
        7, ge=0, le=3650, description="Mails that are done with stay so long, their files too."
    )
    audit_days: int = Field(400, ge=1, le=36500, description="Audit entries stay so long.")

    @field_validator("purge_schedule")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        fields = value.split()
        limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
        for part, (low, high) in zip(fields, limits, strict=False):
            numbers = [int(n) for n in re.findall(r"\d+", part)]
            if not _CRON_FIELD.fullmatch(part) or any(
                not (low <= n <= high) for n in numbers if "/" not in part
            ):
                break
            if "/" in part and not (1 <= numbers[0] <= high and high != 7):  # no steps of weekdays
                break
        else:
            if len(fields) == len(limits):
                return value
        raise ValueError('expected five fields in cron form, such as "0 * * * *"')


class Log(Table):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is console form on a terminal, else JSON lines."
    )


@dataclass(frozen=True)
class Value:
    """One setting as it stands, for `show-config`; `shown` hides secrets."""

    key: str
    shown: str
    origin: str


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    server: Server = Server()
    database: Database = Database()
    tokens: Tokens = Tokens()
    sessions: Sessions = Sessions()
    passwords: Passwords = Passwords()
    registration: Registration = Registration()
    mail: Mail = Mail()
    throttle: Throttle = Throttle()
    retention: Retention = Retention()
    log: Log = Log()

    _origins: Mapping[str, str] = {}
    _file: Path | None = None

    @property
    def file(self) -> Path | None:
        """The settings file these came from, if there is one."""
        return self._file

    @property
    def public_url(self) -> str:
        if self.server.public_url:
            return self.server.public_url
        host = "127.0.0.1" if is_wildcard(self.server.host) else self.server.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server.port}"

    @property
    def issuer(self) -> str:
        return self.tokens.issuer or self.public_url

    @property
    def database_path(self) -> Path:
        url = self.database.url
        return self._from_here(Path(url.removeprefix("sqlite:///"))) if url else self.data_dir / "usersvc.db"

    @property
    def data_dir(self) -> Path:
        return self._from_here(self.server.data_dir)

    @property
    def secret_key_path(self) -> Path:
        """Where the secret key is read from; made there only when no setting names it."""
        named = self.server.secret_key_file
        return self._from_here(named) if named else self.data_dir / "secret.key"

    @property
    def mail_dir(self) -> Path:
        return self.data_dir / "mail"

    @property
    def queue_path(self) -> Path:
        return self.data_dir / "queue.db"

    @property
    def templates_dir(self) -> Path | None:
        return self._from_here(self.mail.templates_dir) if self.mail.templates_dir else None

    def _from_here(self, path: Path) -> Path:
        base = self._file.parent if self._file else Path.cwd()
        return (base / path.expanduser()).absolute()

    def values(self) -> list[Value]:
        """Every key, its value with secrets masked, and where it came from."""
        found = []
        for table, key, _ in keys():
            value = getattr(getattr(self, table), key)
            if isinstance(value, SecretStr):
                shown = "***" if value.get_secret_value() else ""
            elif isinstance(value, bool):
                shown = str(value).lower()
            else:
                shown = "" if value is None else str(value)
            found.append(Value(f"{table}.{key}", shown, self._origins.get(f"{table}.{key}", "default")))
        return found


def keys() -> list[tuple[str, str, Any]]:
    """Every (table, key, field) there is, in the order of usersvc.toml.example."""
    return [
        (table, key, field)
        for table, outer in Settings.model_fields.items()
        for key, field in outer.annotation.model_fields.items()  # type: ignore[union-attr]
    ]


def variable(table: str, key: str) -> str:
    return f"{ENV_PREFIX}{table}__{key}".upper()


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


def _is_http_address(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or any(mark in text for mark in " ?#@\\"):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False


def is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
