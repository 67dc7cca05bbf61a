"""Reads the settings: the file, the variables, the flags; every mistake at once, each with its place."""

import os
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)

from usersvc.profile_schema import Schema, read_schema
from usersvc.setting_types import (
    comma_list,
    is_among,
    is_loopback,
    is_wildcard,
    open_to_others,
    secret_key_problem,
)
from usersvc.settings import ENV_PREFIX, Settings, SettingsError, keys, variable

ENV_CONFIG = "USERSVC_CONFIG"
DEFAULT_FILE = "usersvc.toml"
# prometheus-client reads it when it is imported.
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_WHICH_INSTANCE = {"server.data_dir", "server.secret_key", "server.secret_key_file", "database.url"}


def load(
    config: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings file, the variables and the flags (`{"server.port": 9000}`), rising in rank.

    Raises SettingsError with every mistake found, each with its file or variable.
    """
    variables = dict(os.environ if environ is None else environ)
    path = _find_file(config, variables)
    document = _read_file(path) if path else {}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    origins = _origins(path, document, variables, given)
    misplaced = _misplaced(path, document)
    mistakes = [*_unknown_variables(variables), *misplaced]
    try:
        settings = _from(_tables_of(document), variables, given)
    except ValidationError as error:
        mistakes += _explain(error, origins, path)
        besides = None if misplaced else _besides(_wrong_keys(error), document, variables, given)
        raise SettingsError(mistakes, besides and _placed(besides, origins, path)) from None
    _placed(settings, origins, path)
    settings._schemas, unfit = _read_schemas(settings)
    for together, what in (*_check_together(settings), *unfit):
        places = [origins[key] for key in together if key in origins]
        mistakes.append(": ".join([*dict.fromkeys(places), together[0], what]))
    if mistakes:
        raise SettingsError(mistakes, None if misplaced else settings)
    return settings


def _placed(settings: Settings, origins: Mapping[str, str], path: Path | None) -> Settings:
    settings._origins, settings._file = origins, path
    return settings


def stray_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """USERSVC_ names that are no settings of ours (Kubernetes makes some): worth a warning."""
    environ = os.environ if environ is None else environ
    return sorted(
        name for name in environ if name.startswith(ENV_PREFIX) and "__" not in name and name != ENV_CONFIG
    )


def metrics_folder() -> Path | None:
    """Where this process counts together with others; None where it counts alone."""
    named = os.environ.get(_METRICS_FOLDER)
    return Path(named) if named else None


@contextmanager
def counting_in(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile count in this folder."""
    os.environ[_METRICS_FOLDER] = str(folder)
    try:
        yield
    finally:
        count_alone()


def count_alone() -> None:
    """Leave a folder that the environment names, which is another program's, to that program."""
    for name in (_METRICS_FOLDER, _METRICS_FOLDER.lower()):
        os.environ.pop(name, None)


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """The environment for another program, with variables of its own."""
    return {**os.environ, **more}


def _find_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = config or (Path(environ[ENV_CONFIG]) if environ.get(ENV_CONFIG) else None)
    path = (named or Path(DEFAULT_FILE)).expanduser().absolute()
    if path.is_file():
        return path
    if named:
        raise SettingsError([f"{path}: there is no such settings file"])
    return None


def _read_file(path: Path) -> dict[str, Any]:
    if open_to_others(path, reading=False):
        raise SettingsError([f"{path}: others can write this file: chmod o-w it"])
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None


def _from(document: dict[str, Any], variables: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Let pydantic-settings lay the three over each other; raises ValidationError."""
    known = _known_variables()

    class FromHere(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            # Only what is known: other USERSVC_ names, such as Kubernetes makes, are not settings.
            from_variables = EnvSettingsSource(settings_cls, env_prefix=ENV_PREFIX, env_nested_delimiter="__")
            from_variables.env_vars = {k.lower(): v for k, v in variables.items() if k.upper() in known}
            return (
                InitSettingsSource(settings_cls, init_kwargs=_nested(flags)),
                from_variables,
                InitSettingsSource(settings_cls, init_kwargs=document),
            )

    return FromHere()


def _wrong_keys(error: ValidationError) -> set[str]:
    return {".".join(str(part) for part in problem["loc"][:2]) for problem in error.errors()}


def _besides(
    wrong: set[str], document: Mapping[str, Any], variables: Mapping[str, str], flags: Mapping[str, Any]
) -> Settings | None:
    """The settings without the wrong keys; None where one of these says which database or key is meant."""
    if wrong & _WHICH_INSTANCE:
        return None
    tables = {
        table: {key: value for key, value in document[table].items() if f"{table}.{key}" not in wrong}
        for table in document
        if table in Settings.model_fields
    }
    wrong_variables = {variable(table, key) for table, key, _ in keys() if f"{table}.{key}" in wrong}
    return _from(
        tables,
        {name: value for name, value in variables.items() if name.upper() not in wrong_variables},
        {key: value for key, value in flags.items() if key not in wrong},
    )


def _known_variables() -> set[str]:
    return {variable(table, key) for table, key, _ in keys()}


def _unknown_variables(variables: Mapping[str, str]) -> list[str]:
    known = _known_variables()
    return [
        f"{name}: there is no such setting"
        for name in sorted(variables)
        if name.upper().startswith(ENV_PREFIX) and "__" in name and name.upper() not in known
    ]


def _misplaced(path: Path | None, document: Mapping[str, Any]) -> list[str]:
    return [
        f"{path}: {name}: expected a table, [{name}]"
        for name, value in document.items()
        if name in Settings.model_fields and not isinstance(value, dict)
    ]


def _tables_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without what should be a table and is none: that is told already."""
    return {
        name: value
        for name, value in document.items()
        if isinstance(value, dict) or name not in Settings.model_fields
    }


def _nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flags.items():
        table, name = key.split(".")
        nested.setdefault(table, {})[name] = value
    return nested


def _origins(
    path: Path | None, document: Mapping[str, Any], environ: Mapping[str, str], flags: Mapping[str, Any]
) -> dict[str, str]:
    set_variables = {name.upper() for name in environ}
    origins = {}
    for table, key, _ in keys():
        in_file = document.get(table)
        if f"{table}.{key}" in flags:
            origins[f"{table}.{key}"] = f"--{key.replace('_', '-')}"
        elif variable(table, key) in set_variables:
            origins[f"{table}.{key}"] = variable(table, key)
        elif isinstance(in_file, dict) and key in in_file:
            origins[f"{table}.{key}"] = str(path)
    return origins


def _explain(error: ValidationError, origins: Mapping[str, str], path: Path | None) -> list[str]:
    mistakes = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"])
        what = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        if problem["type"] == "extra_forbidden":  # Only the file can hold one: variables are filtered.
            what = "there is no such setting"
        mistakes.append(f"{origins.get(key) or path or 'settings'}: {key}: {what}")
    return mistakes


def _check_together(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What no single key can see: hosts and links, the rights of files. The keys, and what is wrong."""
    server, sessions = settings.server, settings.sessions
    if server.secret_key.get_secret_value() and server.secret_key_file:
        yield (
            ("server.secret_key", "server.secret_key_file"),
            "expected this or server.secret_key_file, not both",
        )
    if not server.public_url and not is_wildcard(server.host) and not is_loopback(server.host):
        yield (
            ("server.host",),
            f"{server.host} is not a loopback address, so server.public_url is needed for links, "
            "such as https://users.example.org",
        )
    hosts, own = comma_list(server.allowed_hosts), urlsplit(settings.public_url).hostname or ""
    if hosts and not is_among(own, hosts):
        yield (
            ("server.allowed_hosts", "server.public_url"),
            f"expected {own} among them: links in mails go there",
        )
    if sessions.idle_days > sessions.absolute_days:
        yield ("sessions.idle_days", "sessions.absolute_days"), "expected at most sessions.absolute_days"
    if settings.tokens.audience in settings.audiences:
        yield (
            ("tokens.audiences", "tokens.audience"),
            "expected other names than tokens.audience, whose tokens open usersvc",
        )
    if server.secret_key_file and (problem := _secret_file_problem(settings.secret_key_path)):
        yield ("server.secret_key_file",), problem
    if settings.templates_dir and (problem := _folder_problem(settings.templates_dir)):
        yield ("mail.templates_dir",), problem
    if settings.webhooks_ca_file and (problem := _ca_file_problem(settings.webhooks_ca_file)):
        yield ("webhooks.ca_file",), problem
    if settings.on_postgresql:
        yield from _check_postgresql(settings)
    if settings.mail.transport == "smtp":
        yield from _check_smtp(settings)


def _read_schemas(settings: Settings) -> tuple[dict[str, Schema], list[tuple[tuple[str], str]]]:
    """Those that are well, and of the others the key and what is wrong."""
    found, wrong = {}, []
    for what, path in settings.schema_paths.items():
        try:
            found[what] = read_schema(path)
        except ValueError as error:
            wrong.append(((f"profiles.{what}_schema",), str(error)))
    return found, wrong


def _check_postgresql(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is made or guessed beside a file, but not where several machines share a database."""
    if not settings.server.secret_key.get_secret_value() and not settings.server.secret_key_file:
        yield (
            ("server.secret_key", "database.url"),
            "expected this or server.secret_key_file beside PostgreSQL: every machine needs the same one; "
            "make it with `openssl rand -base64 32`",
        )
    if "mail.transport" not in settings._origins:
        yield ("mail.transport", "database.url"), "expected beside PostgreSQL: smtp, file or console"


def _check_smtp(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What sending by SMTP needs; without it the same keys may stand there unused."""
    mail = settings.mail
    sender = parseaddr(mail.from_address)[1]
    if not mail.smtp_host:
        yield ("mail.smtp_host", "mail.transport"), "expected a mail server, such as mail.example.org"
    if sender == "no-reply@localhost" or not sender.isascii():
        yield (
            ("mail.from_address", "mail.transport"),
            "expected an address that mail servers accept, such as Example <no-reply@example.org>",
        )
    if mail.smtp_username and not mail.smtp_password.get_secret_value():
        yield ("mail.smtp_password", "mail.smtp_username"), "expected beside mail.smtp_username"
    if mail.smtp_password.get_secret_value() and not mail.smtp_username:
        yield ("mail.smtp_username", "mail.smtp_password"), "expected beside mail.smtp_password"
    in_the_clear = mail.smtp_security == "none" and mail.smtp_host and not is_loopback(mail.smtp_host)
    if mail.smtp_username and in_the_clear:
        yield (
            ("mail.smtp_security", "mail.smtp_host"),
            "expected starttls or tls: the password would travel in the clear",
        )
    if settings.smtp_ca_file and (problem := _ca_file_problem(settings.smtp_ca_file)):
        yield ("mail.smtp_ca_file",), problem


def _ca_file_problem(path: Path) -> str | None:
    if not path.is_file():
        return f"there is no file {path}"
    if open_to_others(path, reading=False):
        return f"others can write {path}: chmod o-w it"
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        return f"{path} cannot be read as certificates in PEM form"
    return None


def _secret_file_problem(path: Path) -> str | None:
    if not path.is_file():
        return f"there is no file {path}"
    if open_to_others(path, reading=True):
        return f"others can read {path}: chmod 600 it"
    try:
        problem = secret_key_problem(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return f"{path} cannot be read as text"
    return f"{path}: {problem}" if problem else None


def _folder_problem(path: Path) -> str | None:
    if not path.is_dir():
        return f"there is no folder {path}"
    return f"others can write {path}: chmod o-w it" if open_to_others(path, reading=False) else None
