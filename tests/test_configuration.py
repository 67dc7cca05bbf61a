"""Where settings come from, which of them wins, and how mistakes in them are told."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from huey import crontab
from pydantic import ValidationError

from tests.profiles import write_schema
from tests.smtp import ca_file
from usersvc import configuration
from usersvc.setting_types import is_loopback, is_wildcard, secret_key_problem, without_password
from usersvc.settings import Settings, SettingsError, keys, variable

SECRET = "Q7vN2mK9xR4tB8wL3pZ6yH1cD5fG0jSa"
OTHER_SECRET = "aS0jGf5Dc1Hy6Zp3Lw8Bt4Rx9Km2Nv7Q"

pytestmark = pytest.mark.usefixtures("_elsewhere")


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file and no variables of the machine that runs the tests."""
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A settings file with this text."""

    def write(text: str | bytes, *, mode: int = 0o600, name: str = "etc/mine.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def with_variables(**values: object) -> Settings:
    return configuration.load(environ=variables(**values))


def variables(**values: object) -> dict[str, str]:
    return {f"USERSVC_{name.upper()}": str(value) for name, value in values.items()}


def mistakes_of(
    config: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        configuration.load(config, flags=flags, environ=environ or {})
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return caught.value.mistakes


def origin_of(settings: Settings, key: str) -> str:
    [origin] = [value.origin for value in settings.values() if value.key == key]
    return origin


# -- which file


def test_without_any_file_the_defaults_stand() -> None:
    settings = configuration.load(environ={})
    assert settings.file is None
    assert settings.model_dump() == Settings().model_dump()
    assert {value.origin for value in settings.values()} == {"default"}


def test_the_file_in_the_working_directory_is_read() -> None:
    Path("usersvc.toml").write_text("[server]\nport = 8001\n")
    settings = configuration.load(environ={})
    assert settings.server.port == 8001
    assert settings.file == Path.cwd() / "usersvc.toml"


def test_a_file_named_by_the_variable_wins_over_that_in_the_working_directory(
    write: Callable[..., Path],
) -> None:
    Path("usersvc.toml").write_text("[server]\nport = 8001\n")
    path = write("[server]\nport = 8002\n")
    settings = configuration.load(environ={"USERSVC_CONFIG": str(path)})
    assert settings.server.port == 8002
    assert settings.file == path


def test_a_file_named_by_the_caller_wins_over_the_variable(write: Callable[..., Path]) -> None:
    other = write("[server]\nport = 8002\n", name="other.toml")
    path = write("[server]\nport = 8003\n")
    settings = configuration.load(path, environ={"USERSVC_CONFIG": str(other)})
    assert settings.server.port == 8003
    assert settings.file == path


def test_an_empty_variable_names_no_file() -> None:
    assert configuration.load(environ={"USERSVC_CONFIG": ""}).file is None


def test_a_named_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    Path("usersvc.toml").write_text("")
    assert mistakes_of(missing) == [f"{missing}: there is no such settings file"]
    assert mistakes_of(environ={"USERSVC_CONFIG": str(missing)}) == [
        f"{missing}: there is no such settings file"
    ]
    assert mistakes_of(tmp_path) == [f"{tmp_path}: there is no such settings file"]


@pytest.mark.parametrize(
    "text", ["port", "[server\n", "[server]\nport = 1\nport = 2\n", "[server]\nport = \n", b"[log]\n# \xff\n"]
)
def test_a_file_that_is_no_toml_is_a_mistake_that_names_it(
    write: Callable[..., Path], text: str | bytes
) -> None:
    path = write(text)
    [mistake] = mistakes_of(path)
    assert mistake.startswith(f"{path}: not TOML: ")


def test_a_mistake_in_toml_tells_its_line(write: Callable[..., Path]) -> None:
    [mistake] = mistakes_of(write("[server]\n\nport = x\n"))
    assert "line 3" in mistake


@pytest.mark.parametrize("mode", [0o602, 0o646, 0o666, 0o777])
def test_a80_a_settings_file_that_others_can_write_is_refused(write: Callable[..., Path], mode: int) -> None:
    path = write("[server]\nport = 8001\n", mode=mode)
    assert mistakes_of(path) == [f"{path}: others can write this file: chmod o-w it"]


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o640])
def test_a_settings_file_that_others_can_only_read_is_fine(write: Callable[..., Path], mode: int) -> None:
    assert configuration.load(write("[server]\nport = 8001\n", mode=mode), environ={}).server.port == 8001


# -- which value wins


@pytest.mark.parametrize(
    ("in_file", "in_variable", "in_flag", "expected"),
    [
        (*given, next((value for value in reversed(given) if value), 8000))
        for given in itertools.product((None, 8001), (None, 8002), (None, 8003))
    ],
)
def test_flags_win_over_variables_and_these_over_the_file(
    write: Callable[..., Path],
    in_file: int | None,
    in_variable: int | None,
    in_flag: int | None,
    expected: int,
) -> None:
    path = write(f"[server]\nport = {in_file}\n" if in_file else "")
    environ = {"USERSVC_SERVER__PORT": str(in_variable)} if in_variable else {}
    settings = configuration.load(path, flags={"server.port": in_flag}, environ=environ)
    assert settings.server.port == expected
    origins = {8000: "default", 8001: str(path), 8002: "USERSVC_SERVER__PORT", 8003: "--port"}
    assert origin_of(settings, "server.port") == origins[expected]


def test_keys_of_one_table_may_come_from_different_places(write: Callable[..., Path]) -> None:
    path = write('[server]\nport = 8001\ndata_dir = "there"\ndocs = false\n')
    settings = configuration.load(
        path, flags={"server.host": "127.0.0.2"}, environ={"USERSVC_SERVER__PORT": "8002"}
    )
    server = settings.server
    assert (server.host, server.port, server.data_dir, server.docs, server.workers) == (
        "127.0.0.2",
        8002,
        Path("there"),
        False,
        1,
    )


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, key, _ in keys()])
def test_every_key_can_be_set_by_its_variable(tmp_path: Path, table: str, key: str) -> None:
    (tmp_path / "templates").mkdir(mode=0o755)
    (tmp_path / "secret.key").write_text(SECRET)
    (tmp_path / "secret.key").chmod(0o600)
    schema = write_schema(tmp_path / "schema.json", {})
    if key == "ca_file":
        ca_file(trustme.CA(), tmp_path)
    special = {
        "server.host": "127.0.0.3",
        "server.public_url": "https://users.example.org",
        "server.secret_key": SECRET,
        "server.secret_key_file": tmp_path / "secret.key",
        "server.trusted_proxies": "127.0.0.1, 2001:db8::/32",
        "server.allowed_hosts": "127.0.0.1, *.example.org",
        "server.cors_origins": "https://app.example.org",
        "server.metrics_token": "kH7-dR2_wZ9.qB4~",
        "server.worker": "False",
        "database.url": "sqlite:///other.db",
        "queue.url": "redis://redis.example.org:6379/1",
        "tokens.algorithm": "EdDSA",
        "sessions.idle_days": 15,
        "sessions.absolute_days": 31,
        "profiles.profile_schema": schema,
        "profiles.attributes_schema": schema,
        "mail.transport": "console",
        "mail.from_address": "Example <no-reply@example.org>",
        "mail.smtp_security": "tls",
        "mail.templates_dir": tmp_path / "templates",
        "mail.default_locale": "zh-Hans",
        "webhooks.allowed_networks": "10.0.0.0/8",
        "webhooks.ca_file": tmp_path / "ca.pem",
        "mail.activate_link": "https://app.example.org/activate#{token}",
        "mail.reset_link": "https://app.example.org/reset#{token}",
        "mail.invitation_link": "https://app.example.org/welcome#{token}",
        "retention.purge_schedule": "5 4 * * 1-5",
        "log.level": "debug",
        "log.format": "json",
        "passwords.max_length": 255,
    }
    default = getattr(getattr(Settings(), table), key)
    value = special.get(f"{table}.{key}")
    if value is None:
        value = (
            not default if isinstance(default, bool) else default + 1 if isinstance(default, int) else "other"
        )
    settings = configuration.load(environ={variable(table, key): str(value)})
    found = getattr(getattr(settings, table), key)
    assert found != default
    assert str(getattr(found, "get_secret_value", lambda: found)()) == str(value)
    assert origin_of(settings, f"{table}.{key}") == f"USERSVC_{table.upper()}__{key.upper()}"
    others = [given for given in settings.values() if given.origin != "default"]
    assert len(others) == 1


def test_the_case_of_a_variable_does_not_matter() -> None:
    settings = configuration.load(environ={"usersvc_server__port": "8002"})
    assert settings.server.port == 8002
    assert origin_of(settings, "server.port") == "USERSVC_SERVER__PORT"


def test_the_environment_of_the_process_is_what_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_SERVER__PORT", "8002")
    assert configuration.load().server.port == 8002


def test_an_environment_that_is_given_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_SERVER__PORT", "8002")
    assert configuration.load(environ={}).server.port == 8000


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = configuration.load(environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.server = settings.server  # type: ignore[misc]


# -- mistakes


def test_all_mistakes_are_told_at_once_each_with_its_place_and_key(write: Callable[..., Path]) -> None:
    path = write(
        "[server]\nprot = 1\nworkers = 0\n[passwords]\nbcrypt_cost = 9\n"
        '[log]\nlevel = "loud"\n[colours]\nred = 1\n'
    )
    environ = {
        "USERSVC_SERVER__PORT": "http",
        "USERSVC_SERVER__PROT": "1",
        "USERSVC_COLOURS__RED": "1",
        "USERSVC_SERVER__PORT__X": "1",
    }
    found = mistakes_of(path, flags={"sessions.max_per_user": 0}, environ=environ)
    assert sorted(found) == sorted(
        [
            f"{path}: server.prot: there is no such setting",
            f"{path}: server.workers: expected greater than or equal to 1",
            f"{path}: passwords.bcrypt_cost: expected greater than or equal to 10",
            f"{path}: log.level: expected 'debug', 'info', 'warning' or 'error'",
            f"{path}: colours: there is no such setting",
            "USERSVC_SERVER__PORT: server.port: expected a valid integer, "
            "unable to parse string as an integer",
            "USERSVC_SERVER__PROT: there is no such setting",
            "USERSVC_COLOURS__RED: there is no such setting",
            "USERSVC_SERVER__PORT__X: there is no such setting",
            "--max-per-user: sessions.max_per_user: expected greater than or equal to 1",
        ]
    )


def test_a_key_outside_the_tables_is_a_mistake(write: Callable[..., Path]) -> None:
    path = write("port = 8001\n")
    assert mistakes_of(path) == [f"{path}: port: there is no such setting"]


@pytest.mark.parametrize("text", ["server = 3\n", "[[server]]\nport = 1\n"])
@pytest.mark.parametrize("environ", [{}, {"USERSVC_SERVER__PORT": "8002"}])
def test_a_table_that_is_none_is_a_mistake_whatever_the_variables_say(
    write: Callable[..., Path], text: str, environ: dict[str, str]
) -> None:
    path = write(text)
    [mistake] = mistakes_of(path, environ=environ)
    assert mistake.startswith(f"{path}: server: expected ")


def test_unknown_variables_alone_stop_the_start() -> None:
    assert mistakes_of(environ={"USERSVC_SERVER__PROT": "1"}) == [
        "USERSVC_SERVER__PROT: there is no such setting"
    ]


def test_the_name_of_an_unknown_variable_is_told_as_it_was_written() -> None:
    assert mistakes_of(environ={"usersvc_server__Prot": "1"}) == [
        "usersvc_server__Prot: there is no such setting"
    ]


def test_other_names_of_ours_are_only_strays() -> None:
    environ = {
        "USERSVC_SERVICE_HOST": "10.0.0.1",
        "USERSVC_PORT": "tcp://10.0.0.1:8000",
        "USERSVC_SERVER": '{"port": 1}',
        "USERSVC_CONFIG": "",
        "USERSVC_SERVER__PORT": "8002",
        "OTHER_SERVER__PORT": "1",
        "PATH": "/bin",
    }
    settings = configuration.load(environ=environ)
    assert settings.server.port == 8002
    assert configuration.stray_variables(environ) == [
        "USERSVC_PORT",
        "USERSVC_SERVER",
        "USERSVC_SERVICE_HOST",
    ]


def test_strays_are_looked_for_in_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_PORT", "tcp://10.0.0.1:8000")
    assert "USERSVC_PORT" in configuration.stray_variables()


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("server.port", "0"),
        ("server.port", "65536"),
        ("server.port", ""),
        ("server.workers", "65"),
        ("server.trusted_proxies", "10.0.0.0/33"),
        ("server.trusted_proxies", "proxy.example.org"),
        ("server.allowed_hosts", "users.example.org:443"),
        ("server.allowed_hosts", "https://users.example.org"),
        ("server.allowed_hosts", "*"),
        ("server.allowed_hosts", "users.*.org"),
        ("server.cors_origins", "*"),
        ("server.cors_origins", "null"),
        ("server.cors_origins", "app.example.org"),
        ("server.cors_origins", "https://app.example.org/"),
        ("server.cors_origins", "https://*.example.org"),
        ("server.docs", "perhaps"),
        ("database.url", "postgresql://localhost"),
        ("database.url", "postgresql://localhost:port/users"),
        ("database.url", "postgresql://local host/users"),
        ("database.url", "postgres://localhost/users"),
        ("database.url", "mysql://localhost/users"),
        ("database.pool_size", "0"),
        ("database.statement_seconds", "0"),
        ("queue.url", "sqlite:///queue.db"),
        ("queue.url", "redis://"),
        ("queue.url", "redis.example.org"),
        ("database.url", "sqlite:///"),
        ("database.url", "sqlite:///:memory:"),
        ("database.url", "sqlite:///users.db?mode=ro"),
        ("database.url", "users.db"),
        ("tokens.audience", ""),
        ("tokens.audiences", "billing, billing"),
        ("tokens.audiences", "billing files"),
        ("tokens.audiences", "usersvc"),
        ("tokens.access_minutes", "61"),
        ("tokens.refresh_grace_seconds", "-1"),
        ("sessions.idle_days", "0"),
        ("passwords.min_length", "7"),
        ("passwords.max_length", "257"),
        ("passwords.min_score", "5"),
        ("passwords.bcrypt_cost", "9"),
        ("passwords.bcrypt_cost", "17"),
        ("registration.activation_hours", "169"),
        ("mail.transport", "pigeon"),
        ("mail.from_address", "nobody"),
        ("mail.from_address", "a@example.org, b@example.org"),
        ("mail.from_address", "A <a@example.org>, B <b@example.org>"),
        ("mail.from_address", "A\r\nBcc: <b@example.org>"),
        ("mail.smtp_host", "mail.example.org:587"),
        ("mail.smtp_host", "smtp://mail.example.org"),
        ("mail.smtp_host", "mail..example.org"),
        ("mail.smtp_host", "mail example"),
        ("mail.smtp_host", "mail.example.org\n"),
        ("mail.smtp_host", "x" * 64 + ".example.org"),
        ("mail.smtp_port", "65536"),
        ("mail.smtp_security", "ssl"),
        ("mail.activate_link", "https://app.example.org/activate"),
        ("mail.activate_link", "javascript:alert('{token}')"),
        ("throttle.mails_per_hour", "0"),
        ("retention.audit_days", "0"),
        ("log.format", "xml"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_key_and_what_is_expected(key: str, bad: str) -> None:
    name = variable(*key.split("."))
    [mistake] = mistakes_of(environ={name: bad})
    assert mistake.startswith(f"{name}: {key}: ")
    assert "expected" in mistake or "should have at least" in mistake


def test_a38_a_cost_below_the_floor_is_refused() -> None:
    [mistake] = mistakes_of(environ=variables(passwords__bcrypt_cost=9))
    assert (
        mistake
        == "USERSVC_PASSWORDS__BCRYPT_COST: passwords.bcrypt_cost: expected greater than or equal to 10"
    )
    assert with_variables(passwords__bcrypt_cost=10).passwords.bcrypt_cost == 10


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (variables(sessions__idle_days=31), "USERSVC_SESSIONS__IDLE_DAYS: sessions.idle_days: expected "),
        (variables(server__host="192.0.2.1"), "USERSVC_SERVER__HOST: server."),
    ],
)
def test_a_mistake_between_two_keys_names_its_variable_too(given: dict[str, str], expected: str) -> None:
    [mistake] = mistakes_of(environ=given)
    assert mistake.startswith(expected)


def test_a_session_cannot_idle_longer_than_it_may_last() -> None:
    [mistake] = mistakes_of(environ=variables(sessions__idle_days=31))
    assert "sessions.idle_days: expected at most sessions.absolute_days" in mistake
    assert with_variables(sessions__idle_days=30).sessions.idle_days == 30


# -- paths


def test_relative_paths_are_relative_to_the_settings_file(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "templates").mkdir(mode=0o755)
    write(SECRET, name="etc/secret.txt")
    path = write(
        '[server]\ndata_dir = "../var"\nsecret_key_file = "secret.txt"\n'
        '[database]\nurl = "sqlite:///db/users.db"\n[mail]\ntemplates_dir = "templates"\n'
    )
    settings = configuration.load(path, environ={})
    folder = tmp_path / "etc"
    assert settings.data_dir.resolve() == tmp_path / "var"
    assert settings.secret_key_path == folder / "secret.txt"
    assert settings.database_path == folder / "db/users.db"
    assert settings.templates_dir == folder / "templates"
    assert settings.mail_dir == settings.data_dir / "mail"
    assert settings.queue_path == settings.data_dir / "queue.db"


def test_relative_paths_in_variables_are_relative_to_the_settings_file_too(
    write: Callable[..., Path],
) -> None:
    path = write("")
    settings = configuration.load(path, environ={"USERSVC_SERVER__DATA_DIR": "here"})
    assert settings.data_dir == path.parent / "here"


def test_without_a_file_relative_paths_are_relative_to_the_working_directory() -> None:
    settings = configuration.load(environ={})
    here = Path.cwd()
    assert settings.data_dir == here / "data"
    assert settings.database_path == here / "data/usersvc.db"
    assert settings.queue_path == here / "data/queue.db"
    assert settings.mail_dir == here / "data/mail"
    assert settings.secret_key_path == here / "data/secret.key"
    assert settings.templates_dir is None


def test_absolute_paths_and_the_home_are_taken_as_they_are(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write(f'[server]\ndata_dir = "~/users"\n[database]\nurl = "sqlite:///{tmp_path}/users.db"\n')
    settings = configuration.load(path, environ={})
    assert settings.data_dir == tmp_path / "home/users"
    assert settings.database_path == tmp_path / "users.db"


def test_a_template_directory_has_to_be_there_and_not_be_writable_by_others(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    environ = variables(mail__templates_dir=folder)
    assert "there is no folder" in mistakes_of(environ=environ)[0]
    folder.mkdir()
    folder.chmod(0o757)
    [mistake] = mistakes_of(environ=environ)
    assert f"others can write {folder}" in mistake
    folder.chmod(0o755)
    assert configuration.load(environ=environ).templates_dir == folder


# -- the secret key


@pytest.mark.parametrize(
    "secret",
    [
        "short",
        SECRET[:31],
        "changeme" * 5,
        "change-me-change-me-change-me-change-me",
        "CHANGE_ME_1234567890_abcdefghijklmnop",
        "your-secret-key-goes-here-1234567890",
        "placeholder-placeholder-0123456789ab",
        "insert-a-random-secret-of-32-characters",
        "example-secret-do-not-use-0123456789",
        "TODO: make a secret of 32 characters",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "a" * 64,
        "abcabcabc" * 6,
        " " * 40,
    ],
)
def test_a57_a_placeholder_or_short_secret_is_refused_and_not_repeated(secret: str) -> None:
    assert secret_key_problem(secret)
    [mistake] = mistakes_of(environ=variables(server__secret_key=secret))
    assert mistake.startswith("USERSVC_SERVER__SECRET_KEY: server.secret_key: ")
    assert "random characters" in mistake or "openssl rand" in mistake
    assert secret not in mistake


@pytest.mark.parametrize("secret", [SECRET, "h3Kd+9/Qw2Lr7sVb1NzXcYpGt5MfUaJe8HoRi4TmWk0="])
def test_a_random_secret_is_taken(secret: str) -> None:
    assert secret_key_problem(secret) is None
    assert with_variables(server__secret_key=secret).server.secret_key.get_secret_value() == secret


@pytest.mark.parametrize("token", ["kH7-dR2_wZ9.qB4", "kH7-dR2_wZ9.qB4 ~", "kH7-dR2_wZ9.qB4ä", "=" * 16])
def test_a_metrics_token_that_no_header_carries_or_that_is_short_is_refused_and_not_repeated(
    token: str,
) -> None:
    [mistake] = mistakes_of(environ=variables(server__metrics_token=token))
    assert mistake.startswith("USERSVC_SERVER__METRICS_TOKEN: server.metrics_token: expected at least 16 ")
    assert token not in mistake


def test_a_metrics_token_is_masked() -> None:
    settings = with_variables(server__metrics_token="kH7-dR2_wZ9.qB4~")
    shown = {value.key: value.value for value in settings.values()}
    assert shown["server.metrics_token"] == "***"
    assert "kH7" not in repr(settings)


@pytest.mark.parametrize("word", ["ToDo", "xXxX", "TODO", "xxxx"])
def test_a_random_secret_is_taken_though_chance_put_a_word_into_it(word: str) -> None:
    """Of the secrets that `openssl rand -base64 48` makes, one in some 8,000 holds one of these."""
    assert secret_key_problem(f"h3Kd+9/Qw2Lr7sVb1Nz{word}XcYpGt5MfUaJe8HoRi4TmWk0Zq6B") is None


def test_both_a_secret_and_a_secret_file_are_refused(write: Callable[..., Path]) -> None:
    write(SECRET, name="etc/secret.txt")
    path = write(f'[server]\nsecret_key = "{SECRET}"\nsecret_key_file = "secret.txt"\n')
    [mistake] = mistakes_of(path)
    assert mistake == f"{path}: server.secret_key: expected this or server.secret_key_file, not both"


def test_both_secrets_in_variables_are_refused_with_the_variables_and_not_the_file(
    write: Callable[..., Path],
) -> None:
    path = write("")
    secret_file = write(OTHER_SECRET, name="etc/secret.txt")
    environ = variables(server__secret_key=SECRET, server__secret_key_file=secret_file)
    [mistake] = mistakes_of(path, environ=environ)
    assert "not both" in mistake
    assert "USERSVC_SERVER__SECRET_KEY" in mistake
    assert str(path) not in mistake


def test_a_secret_file_has_to_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    [mistake] = mistakes_of(environ=variables(server__secret_key_file=missing))
    assert f"server.secret_key_file: there is no file {missing}" in mistake


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o660, 0o601])
def test_a57_a_secret_file_that_others_can_open_is_refused(write: Callable[..., Path], mode: int) -> None:
    path = write(SECRET, mode=mode)
    [mistake] = mistakes_of(environ=variables(server__secret_key_file=path))
    assert f"server.secret_key_file: others can read {path}: chmod 600 it" in mistake
    path.chmod(0o400)
    assert configuration.load(environ=variables(server__secret_key_file=path)).secret_key_path == path


@pytest.mark.parametrize("content", ["short", "", "changeme" * 8, b"\xff" * 40, "\n" * 40])
def test_a57_a_secret_file_without_a_usable_secret_is_refused(
    write: Callable[..., Path], content: str | bytes
) -> None:
    path = write(content)
    [mistake] = mistakes_of(environ=variables(server__secret_key_file=path))
    assert "server.secret_key_file: " in mistake
    assert str(path) in mistake
    assert "changeme" not in mistake


def test_a_line_break_after_the_secret_in_its_file_does_not_matter(write: Callable[..., Path]) -> None:
    path = write(f"{SECRET}\n")
    assert configuration.load(environ=variables(server__secret_key_file=path)).secret_key_path == path


# -- addresses


def test_links_begin_with_the_public_url_whatever_is_listened_on() -> None:
    settings = configuration.load(
        flags={"server.host": "0.0.0.0", "server.port": 9000},
        environ=variables(server__public_url="https://users.example.org/"),
    )
    assert settings.public_url == settings.issuer == "https://users.example.org"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8010"),
        ("127.1.2.3", "http://127.1.2.3:8010"),
        ("localhost", "http://localhost:8010"),
        ("::1", "http://[::1]:8010"),
        ("0.0.0.0", "http://127.0.0.1:8010"),
        ("::", "http://127.0.0.1:8010"),
        ("", "http://127.0.0.1:8010"),
    ],
)
def test_without_a_public_url_links_point_to_loopback(host: str, expected: str) -> None:
    settings = configuration.load(flags={"server.host": host}, environ={"USERSVC_SERVER__PORT": "8010"})
    assert settings.public_url == settings.issuer == expected


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "users.example.org", "2001:db8::1", "10.0.0.1", "localhost.example"]
)
def test_a_host_that_is_not_loopback_needs_a_public_url(host: str) -> None:
    for given in (
        {"flags": {"server.host": host}, "environ": {}},
        {"environ": variables(server__host=host)},
    ):
        [mistake] = mistakes_of(**given)
        assert "is not a loopback address, so server.public_url is needed" in mistake
        assert host in mistake
    settings = with_variables(server__host=host, server__public_url="https://users.example.org")
    assert settings.public_url == "https://users.example.org"


def test_links_must_not_lead_to_a_host_that_is_refused() -> None:
    [mistake] = mistakes_of(environ=variables(server__allowed_hosts="users.example.org"))
    assert "server.allowed_hosts: expected 127.0.0.1 among them" in mistake
    public_url = "https://Users.example.org:8443"
    settings = with_variables(server__allowed_hosts="*.example.org", server__public_url=public_url)
    assert settings.server.allowed_hosts == "*.example.org"


def test_wildcards_and_loopbacks_are_told_apart() -> None:
    assert all(is_wildcard(host) for host in ("0.0.0.0", "::", ""))
    assert not any(is_wildcard(host) for host in ("127.0.0.1", "::1", "10.0.0.1", "localhost"))
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.255.0.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "128.0.0.1"))


def test_an_issuer_of_its_own_changes_no_links() -> None:
    settings = with_variables(
        tokens__issuer="https://id.example.org", server__public_url="https://example.org"
    )
    assert (settings.issuer, settings.public_url) == ("https://id.example.org", "https://example.org")


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "https://users.example.org/users", "https://[::1]:8443"]
)
def test_a_public_url_may_have_a_port_and_a_path(url: str) -> None:
    assert with_variables(server__public_url=url).public_url == url
    assert with_variables(server__public_url=f"{url}/").public_url == url


@pytest.mark.parametrize(
    "url",
    [
        "users.example.org",
        "//users.example.org",
        "/users",
        "ftp://users.example.org",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://users.example.org?next=1",
        "https://users.example.org/#top",
        "https://[::1",
    ],
)
def test_a_public_url_that_is_no_web_address_is_refused(url: str) -> None:
    [mistake] = mistakes_of(environ=variables(server__public_url=url))
    assert mistake.startswith("USERSVC_SERVER__PUBLIC_URL: server.public_url: ")


@pytest.mark.parametrize(
    "url",
    [
        "https://users.example.org\n",
        "https://users.example.org\r\nBcc: x",
        " https://users.example.org",
        "https://users example.org",
        "https://users.example.org?",
        "https://users.example.org:port",
        "https://users.example.org:99999",
        "https://name:password@users.example.org",
    ],
)
def test_a_public_url_that_makes_broken_links_is_refused(url: str) -> None:
    [mistake] = mistakes_of(environ=variables(server__public_url=url))
    assert mistake.startswith("USERSVC_SERVER__PUBLIC_URL: server.public_url: ")


# -- PostgreSQL and Redis

POSTGRESQL = {
    "database__url": "postgresql://usersvc:a-password@db.example.org/users",
    "server__secret_key": SECRET,
    "mail__transport": "console",
}


def test_postgresql_holds_the_queue_too_and_runs_no_worker_inside_unless_told() -> None:
    settings = with_variables(**POSTGRESQL)
    assert settings.on_postgresql
    assert settings.queue_url == POSTGRESQL["database__url"]
    assert not settings.runs_worker
    assert with_variables(**POSTGRESQL, server__worker="true").runs_worker
    assert with_variables(**POSTGRESQL, queue__url="redis://localhost/0").queue_url == "redis://localhost/0"


def test_on_sqlite_the_queue_is_a_file_and_a_worker_runs_inside() -> None:
    settings = with_variables()
    assert (settings.on_postgresql, settings.queue_url, settings.runs_worker) == (False, "", True)
    assert not with_variables(server__worker="false").runs_worker


@pytest.mark.parametrize("missing", ["server__secret_key", "mail__transport"])
def test_what_is_made_or_guessed_beside_a_file_must_be_set_beside_postgresql(missing: str) -> None:
    given = {key: value for key, value in POSTGRESQL.items() if key != missing}
    [mistake] = mistakes_of(environ=variables(**given))
    assert missing.replace("__", ".") in mistake


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://usersvc:secret@db/users", "postgresql://usersvc:***@db/users"),
        ("postgresql://usersvc:sec:ret@db:5432/users", "postgresql://usersvc:***@db:5432/users"),
        ("postgresql://usersvc@db/users", "postgresql://usersvc@db/users"),
        (
            "postgresql:///users?host=/run&password=secret&x=1",
            "postgresql:///users?host=/run&password=***&x=1",
        ),
        ("redis://:secret@redis:6379/0", "redis://:***@redis:6379/0"),
    ],
)
def test_passwords_in_addresses_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_show_config_shows_no_password_of_a_database() -> None:
    settings = with_variables(**POSTGRESQL, queue__url="redis://:a-password@localhost/0")
    shown = {value.key: value.value for value in settings.values()}
    assert shown["database.url"] == "postgresql://usersvc:***@db.example.org/users"
    assert shown["queue.url"] == "redis://:***@localhost/0"


# -- schedules


@pytest.mark.parametrize(
    "schedule",
    [
        "0 * * * *",
        "*/15 * * * *",
        "0,30 8-18 1,15 1-6 1-5",
        "59 23 31 12 7",
        "0 0 1 1 0",
        "*/59 */23 * * *",
        "  5   4 * * *  ",
    ],
)
def test_a_schedule_in_cron_form_is_taken(schedule: str) -> None:
    assert with_variables(retention__purge_schedule=schedule).retention.purge_schedule == schedule


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "hourly",
        "@hourly",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * mon",
        "*/0 * * * *",
        "*/60 * * * *",
        "*/x * * * *",
        "-1 * * * *",
        "1- * * * *",
        "1, * * * *",
        "0-60 * * * *",
        "1.5 * * * *",
    ],
)
def test_a_schedule_in_no_cron_form_is_refused(schedule: str) -> None:
    [mistake] = mistakes_of(environ=variables(retention__purge_schedule=schedule))
    assert mistake == (
        "USERSVC_RETENTION__PURGE_SCHEDULE: retention.purge_schedule: "
        'expected five fields in cron form, such as "0 * * * *"'
    )


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "field", ["*", "*/2", "*/7", "1", "1-5", "5-1", "1,2", "*,1", "1-2,4", "0", "7", "31"]
)
def test_a_schedule_that_is_taken_can_be_run(place: int, field: str) -> None:
    fields = ["*"] * 5
    fields[place] = field
    try:
        with_variables(retention__purge_schedule=" ".join(fields))
    except SettingsError:
        return
    assert callable(crontab(*fields, strict=True))


# -- showing them


def test_a80_values_are_shown_with_their_origins_and_without_secrets(write: Callable[..., Path]) -> None:
    path = write(f'[server]\nsecret_key = "{SECRET}"\ndocs = false\n')
    settings = configuration.load(path, flags={"server.port": 8003}, environ=variables(log__level="debug"))
    shown = {value.key: (value.value, value.origin) for value in settings.values()}
    assert list(shown) == [f"{table}.{key}" for table, key, _ in keys()]
    assert shown["server.secret_key"] == ("***", str(path))
    assert shown["server.docs"] == (False, str(path))
    assert shown["server.port"] == (8003, "--port")
    assert shown["log.level"] == ("debug", "USERSVC_LOG__LEVEL")
    assert shown["server.worker"] == (True, "default")
    assert shown["server.data_dir"] == ("data", "default")
    assert shown["mail.templates_dir"] == (None, "default")
    assert SECRET not in repr(settings.values())


def test_a80_a_secret_that_is_not_set_is_shown_as_empty() -> None:
    [value] = [v for v in configuration.load(environ={}).values() if v.key == "server.secret_key"]
    assert (value.value, value.origin) == (None, "default")


def test_a80_settings_printed_by_accident_hold_no_secret() -> None:
    settings = with_variables(server__secret_key=SECRET)
    for text in (repr(settings), str(settings), repr(settings.server), str(settings.model_dump())):
        assert SECRET not in text
    assert SECRET not in settings.model_dump_json()


# -- what holds besides the mistakes


def besides(config: Path | None = None, **values: object) -> Settings | None:
    with pytest.raises(SettingsError) as caught:
        configuration.load(config, environ=variables(**values))
    return caught.value.besides


def test_wrong_keys_have_their_defaults_beside_what_is_right(write: Callable[..., Path]) -> None:
    path = write('[server]\nport = "high"\nprot = 1\ndata_dir = "mine"\n[sevrer]\nport = 1\n')
    found = besides(path, log__level="loud", server__workers="3")
    assert found is not None
    assert (found.server.port, found.log.level, found.server.workers) == (8000, "info", 3)
    assert (found.file, found.data_dir) == (path, path.parent / "mine")
    assert {v.key: v.origin for v in found.values()}["server.data_dir"] == str(path)


def test_mistakes_that_only_show_together_leave_the_settings_as_they_are() -> None:
    found = besides(mail__transport="smtp", server__prot="1")
    assert found is not None
    assert found.mail.transport == "smtp"


@pytest.mark.parametrize(
    "text",
    [
        "[server]\ndata_dir = 5\n",
        '[database]\nurl = "mysql://x"\n',
        '[server]\nsecret_key = "short"\n',
        "server = 5\n",
        'server = 5\n[log]\nlevel = "loud"\n',
        "not TOML",
    ],
)
def test_nothing_holds_where_it_is_not_certain_which_database_is_meant(
    write: Callable[..., Path], text: str
) -> None:
    assert besides(write(text)) is None
