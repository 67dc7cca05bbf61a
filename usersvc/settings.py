"""The settings of usersvc.toml and USERSVC_*, typed, each knowing where it came from.

Nothing is read at import; `configuration.load()` makes a Settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from usersvc.setting_types import (
    BearerToken,
    Cron,
    DatabaseUrl,
    Folder,
    Host,
    Hosts,
    LinkPattern,
    Networks,
    OneAddress,
    OptionalPath,
    Origins,
    PublicUrl,
    QueueUrl,
    SecretKey,
    is_postgresql,
    is_wildcard,
    without_password,
)

ENV_PREFIX = "USERSVC_"
_LONG_STATEMENT_SECONDS = 120
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class SettingsError(Exception):
    """What is wrong with the settings, a line a mistake; nothing was started or changed."""

    def __init__(self, mistakes: list[str], besides: "Settings | None" = None) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
        self.besides = besides
        """What holds with defaults for the wrong keys, to look around with and never to start or send
        with; None where it is not certain which database and secret key are meant."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Table):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="API processes.")
    public_url: PublicUrl = Field(
        "",
        description="The address people reach the service under; links in mails begin with it. "
        "Empty: from host and port.",
    )
    data_dir: Folder = Field(
        Path("data"),
        description="Folder for the embedded database, the queue, the secret key and mail files.",
    )
    secret_key: SecretKey = Field(
        SecretStr(""),
        description="At least 32 random characters that wrap the signing keys. "
        "Empty, and no file: made once, in the data directory.",
    )
    secret_key_file: OptionalPath = Field(
        None, description="File that holds the secret key instead, readable by its owner alone."
    )
    trusted_proxies: Networks = Field(
        "",
        description="Addresses or networks of reverse proxies, with commas between them. The client's "
        "address is then taken from the X-Forwarded-For that they send.",
    )
    allowed_hosts: Hosts = Field(
        "",
        description="Hosts that requests may name, with commas between them; `*.example.org` is each below "
        "it. Others are refused. Empty: any, since links never come from there.",
    )
    cors_origins: Origins = Field(
        "",
        description="Origins whose pages may call from a browser, with commas between them. Empty: none but "
        "its own.",
    )
    metrics_token: BearerToken = Field(
        SecretStr(""),
        description="Bearer token, at least 16 random characters, with which Prometheus may read /metrics "
        "from elsewhere. Empty: only programs on this machine may.",
    )
    docs: bool = Field(True, description="Serve Swagger UI at /docs and the OpenAPI document.")
    worker: bool | None = Field(
        None,
        description="Run a worker (mail, periodic jobs) inside `usersvc serve`. Unless it is set: on SQLite, "
        "but not on PostgreSQL.",
    )
    drain_seconds: int = Field(
        2,
        ge=0,
        le=300,
        description="After SIGTERM it goes on serving for so long, while /readyz says that it stops. "
        "Longer than the interval in which a load balancer looks.",
    )


class Database(Table):
    url: DatabaseUrl = Field(
        "",
        description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. Empty: usersvc.db in the data "
        "directory.",
    )
    pool_size: int = Field(10, ge=1, le=200, description="PostgreSQL: connections that a process keeps.")
    pool_overflow: int = Field(5, ge=0, le=200, description="PostgreSQL: further ones while much is to do.")
    pool_seconds: int = Field(
        3, ge=1, le=30, description="PostgreSQL: who finds no free connection within so long is sent away."
    )
    connect_seconds: int = Field(5, ge=1, le=60, description="PostgreSQL: longest wait for the server.")
    statement_seconds: int = Field(5, ge=1, le=600, description="PostgreSQL: longest statement.")
    lock_seconds: int = Field(
        3, ge=1, le=60, description="PostgreSQL: longest wait for what another transaction holds."
    )
    idle_in_transaction_seconds: int = Field(
        15, ge=1, le=600, description="PostgreSQL: a transaction in which nothing happens ends after so long."
    )


class Queue(Table):
    url: QueueUrl = Field(
        "",
        description="redis://HOST:PORT/NUMBER or a PostgreSQL database for the worker's wake-ups. Empty: the "
        "PostgreSQL database, or queue.db in the data directory.",
    )


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
    bcrypt_cost: int = Field(
        12,
        ge=10,
        le=16,
        description="Each step doubles the time that a check takes. Lowered, older hashes keep theirs.",
    )


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
    reset_minutes: int = Field(30, ge=5, le=1440, description="Life of a link to reset a password.")
    invitation_hours: int = Field(
        72, ge=1, le=720, description="Life of a link to choose the password of an account made by others."
    )


class Mail(Table):
    transport: Literal["file", "console", "smtp"] = Field(
        "file",
        description="Where mail goes: `file` (mail/ in the data directory), `console` (standard output) "
        "or `smtp` (a mail server, smtp_host).",
    )
    from_address: OneAddress = Field("usersvc <no-reply@localhost>", description="Sender of every mail.")
    smtp_host: Host = Field("", description="Mail server, a name or an address.")
    smtp_port: int = Field(
        0, ge=0, le=65535, description="Its port. 0: 587 with starttls, 465 with tls, 25 with none."
    )
    smtp_username: str = Field("", description="Whom to log in as. Empty: no login.")
    smtp_password: SecretStr = Field(SecretStr(""), description="The password of smtp_username.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="`starttls`, `tls` (from the first byte) or `none` (in the clear: for a relay or a mail "
        "catcher on this machine).",
    )
    smtp_ca_file: OptionalPath = Field(
        None,
        description="File of CA certificates (PEM) that the server's may come from, besides those that "
        "the system trusts.",
    )
    templates_dir: OptionalPath = Field(
        None, description="Folder whose templates replace the built-in ones of the same name."
    )
    activate_link: LinkPattern = Field(
        "",
        description="A page of your own to open activation links, `{token}` in it. "
        "Empty: usersvc's own page.",
    )
    reset_link: LinkPattern = Field(
        "",
        description="The same for links that reset a password. Empty: usersvc's own page.",
    )
    invitation_link: LinkPattern = Field(
        "",
        description="The same for links that accept an invitation. Empty: usersvc's own page.",
    )


class Throttle(Table):
    enabled: bool = Field(
        True, description="Whether logins, requests and mails are limited. Off is for tests of load."
    )
    login_attempts: int = Field(
        5, ge=1, le=100, description="Failed logins at one address from one network, then a pause."
    )
    login_window_minutes: int = Field(
        5, ge=1, le=1440, description="The minutes in which failed logins are counted."
    )
    login_pause_minutes: int = Field(
        1, ge=1, le=1440, description="First pause; each further failure doubles it."
    )
    login_longest_pause_minutes: int = Field(15, ge=1, le=1440, description="Longest pause.")
    network_login_attempts: int = Field(
        30,
        ge=1,
        le=100_000,
        description="Failed logins from one network (an IPv4 address or an IPv6 /64; a /48 has ten times "
        "that), at any addresses, in login_window_minutes.",
    )
    account_login_attempts: int = Field(
        100,
        ge=10,
        le=100_000,
        description="Failed logins in a row at one address, from anywhere. Then its login is locked, "
        "except for networks it has logged in from before.",
    )
    known_network_days: int = Field(
        30, ge=1, le=365, description="For how long a network that an account has logged in from is known."
    )
    requests_per_minute: int = Field(
        20,
        ge=1,
        le=100_000,
        description="Registrations from one network in a minute; as many each of activations, resets, and "
        "requests for an activation or reset mail.",
    )
    refreshes_in_five_minutes: int = Field(
        150, ge=1, le=1_000_000, description="Refreshes from one network in five minutes."
    )
    mail_seconds: int = Field(
        60, ge=0, le=3600, description="Pause between two mails of one kind to one address."
    )
    mails_per_hour: int = Field(5, ge=1, le=1000, description="Mails of one kind to one address in an hour.")
    mails_per_network_and_day: int = Field(
        100, ge=1, le=100_000, description="Requests from one network in a day that may cause a mail."
    )
    mails_per_hour_in_all: int = Field(
        2000,
        ge=10,
        le=10_000_000,
        description="Mails that the whole instance sends in an hour; more wait. The last fifth is not for "
        "those that registering causes.",
    )


class Retention(Table):
    purge_schedule: Cron = Field("0 * * * *", description="When to purge, in cron form (UTC).")
    pending_days: int = Field(
        7, ge=1, le=365, description="Never activated accounts live so long after their last registration."
    )
    sessions_days: int = Field(30, ge=0, le=3650, description="Ended sessions stay so long.")
    outbox_days: int = Field(
        7, ge=0, le=3650, description="Mails that are done with stay so long, their files too."
    )
    audit_days: int = Field(400, ge=1, le=36500, description="Audit entries stay so long.")


class Log(Table):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is console form on a terminal, else JSON lines."
    )


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
