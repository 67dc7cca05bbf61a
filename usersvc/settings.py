"""The settings of usersvc.toml and USERSVC_*, typed, each knowing where it came from.

Nothing is read at import; `configuration.load()` makes a Settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from usersvc.errors import Misconfigured
from usersvc.profile_schema import Schema
from usersvc.setting_tables import (
    Database,
    Log,
    Mail,
    Passwords,
    Profiles,
    Queue,
    Registration,
    Retention,
    Server,
    Sessions,
    Throttle,
    Tokens,
    Webhooks,
)
from usersvc.setting_types import is_postgresql, is_wildcard, names_of, without_password

ENV_PREFIX = "USERSVC_"
_LONG_STATEMENT_SECONDS = 120
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class SettingsError(Misconfigured):
    def __init__(self, mistakes: list[str], besides: "Settings | None" = None) -> None:
        super().__init__(mistakes)
        self.besides = besides
        """What holds with defaults for the wrong keys, to look around with and never to start or send
        with; None where it is not certain which database and secret key are meant."""


@dataclass(frozen=True)
class Value:
    """One setting as it stands, for `show-config`; secrets are masked."""

    key: str
    value: str | int | bool | None
    origin: str


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    server: Server = Server()
    database: Database = Database()
    queue: Queue = Queue()
    tokens: Tokens = Tokens()
    sessions: Sessions = Sessions()
    passwords: Passwords = Passwords()
    registration: Registration = Registration()
    profiles: Profiles = Profiles()
    mail: Mail = Mail()
    throttle: Throttle = Throttle()
    webhooks: Webhooks = Webhooks()
    retention: Retention = Retention()
    log: Log = Log()

    _origins: Mapping[str, str] = {}
    _file: Path | None = None
    _schemas: Mapping[str, Schema] = {}

    @property
    def file(self) -> Path | None:
        """The settings file these came from, if there is one."""
        return self._file

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """Of `profile` and `attributes`, where there is one, as the files were when these were read."""
        return self._schemas

    @property
    def schema_paths(self) -> dict[str, Path]:
        """The files of them, by what is kept."""
        named = {"profile": self.profiles.profile_schema, "attributes": self.profiles.attributes_schema}
        return {what: self._from_here(path) for what, path in named.items() if path}

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
    def audiences(self) -> list[str]:
        """The services that take tokens of their own."""
        return names_of(self.tokens.audiences)

    @property
    def on_postgresql(self) -> bool:
        return is_postgresql(self.database.url)

    @property
    def runs_worker(self) -> bool:
        """Whether `usersvc serve` runs one inside."""
        return not self.on_postgresql if self.server.worker is None else self.server.worker

    @property
    def queue_url(self) -> str:
        """Of PostgreSQL or Redis; empty where the queue is the file `queue_path`."""
        return self.queue.url or (self.database.url if self.on_postgresql else "")

    @property
    def database_path(self) -> Path:
        """Where the database is a file."""
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

    @property
    def smtp_port(self) -> int:
        return self.mail.smtp_port or _SMTP_PORTS[self.mail.smtp_security]

    @property
    def smtp_ca_file(self) -> Path | None:
        return self._from_here(self.mail.smtp_ca_file) if self.mail.smtp_ca_file else None

    @property
    def webhooks_ca_file(self) -> Path | None:
        return self._from_here(self.webhooks.ca_file) if self.webhooks.ca_file else None

    def on_database(self, url: str) -> "Settings":
        """The same on another database, for work that no client waits for: a statement may take long."""
        given = {"url": url, "statement_seconds": _LONG_STATEMENT_SECONDS}
        return self.model_copy(update={"database": self.database.model_copy(update=given)})

    def _from_here(self, path: Path) -> Path:
        base = self._file.parent if self._file else Path.cwd()
        return (base / path.expanduser()).absolute()

    def values(self) -> list[Value]:
        """Every key with the value that holds, secrets masked, and where it came from."""
        found = []
        for table, key, _ in keys():
            name, value = f"{table}.{key}", getattr(getattr(self, table), key)
            origin = self._origins.get(name, "default")
            if isinstance(value, SecretStr):
                value = "***" if value.get_secret_value() else None
            elif not value and name in self._derived:
                value = self._derived[name]
            if key == "url" and value:
                value = without_password(value)
            found.append(Value(name, str(value) if isinstance(value, Path) else value, origin))
        return found

    @property
    def _derived(self) -> dict[str, Any]:
        """What holds where a key is empty."""
        own_secret = not self.server.secret_key.get_secret_value()
        return {
            "server.public_url": self.public_url,
            "server.secret_key_file": self.secret_key_path if own_secret else None,
            "server.worker": self.runs_worker,
            "database.url": f"sqlite:///{self.database_path}",
            "queue.url": self.queue_url or f"sqlite:///{self.queue_path}",
            "tokens.issuer": self.issuer,
            "mail.smtp_port": self.smtp_port if self.mail.smtp_host else 0,
        }


def keys() -> list[tuple[str, str, Any]]:
    """Every (table, key, field) there is, in the order of usersvc.toml.example."""
    return [
        (table, key, field)
        for table, outer in Settings.model_fields.items()
        for key, field in outer.annotation.model_fields.items()  # type: ignore[union-attr]
    ]


def variable(table: str, key: str) -> str:
    return f"{ENV_PREFIX}{table}__{key}".upper()
