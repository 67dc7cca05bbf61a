"""The tables of usersvc.toml: every key with its type, its default, its bounds and its meaning."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from usersvc.locales import Locale
from usersvc.setting_types import (
    Audiences,
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
)


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
    audience: str = Field(
        "usersvc", min_length=1, description="`aud` of the tokens that usersvc's own routes take."
    )
    audiences: Audiences = Field(
        "",
        description="Names of services that take tokens of their own, with commas between them. A user gets "
        "a token for one of them that opens nothing else. Empty: none.",
    )
    access_minutes: int = Field(10, ge=1, le=60, description="Life of an access token.")
    algorithm: Literal["ES256", "EdDSA", "RS256"] = Field(
        "ES256",
        description="Signs access tokens, from the next key on: `usersvc rotate-keys` makes one.",
    )
    rotation_days: int = Field(
        0, ge=0, le=3650, description="The hourly job rotates keys that signed for so long. 0: it does not."
    )
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


class Profiles(Table):
    profile_schema: OptionalPath = Field(
        None,
        description="File with the JSON Schema (draft 2020-12) of what users keep about themselves. "
        "None: nothing.",
    )
    attributes_schema: OptionalPath = Field(
        None,
        description="The same for what administrators keep about a user, who can read it. None: nothing.",
    )
    max_bytes: int = Field(
        4096,
        ge=64,
        le=16384,
        description="Longest profile, and longest attributes, as JSON without spaces in UTF-8.",
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
    default_locale: Locale = Field(
        "en",
        description="The language of mails to those of whom none is known: `en`, `de`, `fr`, `es`, `pt`, "
        "`hi` or `zh-Hans`.",
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
        "requests for an activation or reset mail. Changes of one account by its owner, too.",
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


class Webhooks(Table):
    allowed_networks: Networks = Field(
        "",
        description="Addresses or networks that webhooks may be sent to besides the public internet, with "
        "commas between them; to these by http too.",
    )
    ca_file: OptionalPath = Field(
        None,
        description="File of CA certificates (PEM) that those of receivers may come from, besides those that "
        "the system trusts.",
    )
    timeout_seconds: int = Field(
        15, ge=1, le=30, description="Longest time for one try, from the name to the answer."
    )


class Retention(Table):
    purge_schedule: Cron = Field("0 * * * *", description="When to purge, in cron form (UTC).")
    pending_days: int = Field(
        7, ge=1, le=365, description="Never activated accounts live so long after their last registration."
    )
    deletion_grace_days: int = Field(
        14,
        ge=0,
        le=365,
        description="Accounts that are to be deleted stay so long; logging in until then keeps them.",
    )
    sessions_days: int = Field(30, ge=0, le=3650, description="Ended sessions stay so long.")
    outbox_days: int = Field(
        7,
        ge=0,
        le=3650,
        description="Mails that are done with stay so long, their files too, and the log of webhooks.",
    )
    audit_days: int = Field(400, ge=1, le=36500, description="Audit entries stay so long.")


class Log(Table):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is console form on a terminal, else JSON lines."
    )
