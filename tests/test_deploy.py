"""What deploy/ ships fits usersvc and itself: commands, variables, settings, ports, paths, limits, times."""

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from usersvc import configuration
from usersvc.api.envelope import MOST_BODY_BYTES, MOST_HEADER_BYTES
from usersvc.api.errors import TRANSPORT
from usersvc.api.protocol import BODY_SECONDS, HEADER_SECONDS
from usersvc.api.serving import MOST_ACCEPT_SECONDS, STOP_SECONDS
from usersvc.cli.commands import load
from usersvc.configuration import ENV_CONFIG
from usersvc.jobs import worker
from usersvc.settings import Settings, keys, variable

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent


def _text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


COMPOSE = yaml.safe_load(_text("compose.yaml"))
SERVICES = COMPOSE["services"]
OURS = ("api", "worker")
DOCKERFILE = _text("Dockerfile").replace("\\\n", " ")
UNITS = ("usersvc.service", "usersvc-worker.service")
PROXIES = ("nginx.conf", "Caddyfile")
DATA = "/data"
SECRETS = "/run/secrets/"
SECRET_KEY = "tWn0o6cI0fPp1yHcKQ2v9m5GJ7xZrUeB3sLdAqFhNk4="

_VARIABLES = {ENV_CONFIG} | {variable(table, key) for table, key, _ in keys()}


def _instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name, in the order of the Dockerfile."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def _unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string(_text(name))
    return unit


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def _runs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


# --- by the rules of others


def _follows_the_specification(file: Path) -> subprocess.CompletedProcess[str]:
    """The schema is the one of the Compose specification that check-jsonschema has in it."""
    return _runs(PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_compose_follows_the_specification() -> None:
    found = _follows_the_specification(DEPLOY / "compose.yaml")
    assert found.returncode == 0, found.stdout


def test_what_breaks_the_specification_is_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(_text("compose.yaml").replace("stop_grace_period", "stop_grace_time"), encoding="utf-8")
    assert "stop_grace_time" in _follows_the_specification(wrong).stdout


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = _runs(PROGRAMS / "hadolint", DEPLOY / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")


def test_the_shell_takes_the_proof() -> None:
    assert _runs("sh", "-n", DEPLOY / "prove.sh").returncode == 0


# --- commands


def _commands() -> dict[str, list[str]]:
    """The words after `usersvc` of everything in deploy/ that starts it."""
    [image] = _instructions("CMD")
    found = {"Dockerfile": json.loads(image)}
    found |= {service: SERVICES[service]["command"] for service in OURS}
    for unit in UNITS:
        program, config, file, *words = shlex.split(_unit(unit)["Service"]["ExecStart"])
        assert (Path(program).name, config, file) == ("usersvc", "--config", "/etc/usersvc/usersvc.toml")
        found[unit] = words
    return found


@pytest.mark.parametrize("place", _commands())
def test_every_command_is_one_of_ours_with_its_options(place: str) -> None:
    name, *options = _commands()[place]
    # Raises for what it does not know.
    load(name).make_context(name, options)


def test_the_api_has_no_worker_inside_where_one_runs_beside_it() -> None:
    commands = _commands()
    for served, worked in (("api", "worker"), UNITS):
        assert "--no-worker" in commands[served]
        assert commands[worked] == ["worker"]


def test_the_image_starts_usersvc_and_not_as_root() -> None:
    assert _instructions("ENTRYPOINT") == ['["usersvc"]']
    [user] = _instructions("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert f"sudo chown {user.partition(':')[0]} " in (ROOT / "docs/deployment.md").read_text(
        encoding="utf-8"
    )


# --- settings


@pytest.mark.parametrize("file", sorted(path.name for path in DEPLOY.iterdir() if path.is_file()))
def test_every_variable_that_is_named_exists(file: str) -> None:
    assert set(re.findall(r"\bUSERSVC_[A-Z_]+\b", _text(file))) <= _VARIABLES


def _settings_of_compose(folder: Path, *, uncommented: bool) -> Settings:
    """As the containers get them, but for where the secrets are."""
    text = _text("compose.usersvc.toml")
    if uncommented:
        text = re.sub(r"^# (?=\[|\w+ = )", "", text.replace('transport = "file"', "", 1), flags=re.MULTILINE)
    file, secret = folder / "usersvc.toml", folder / "secret.key"
    file.write_text(text, encoding="utf-8")
    secret.write_text(SECRET_KEY, encoding="utf-8")
    secret.chmod(0o600)
    environment = SERVICES["api"]["environment"] | dict(_pairs("ENV"))
    assert environment[ENV_CONFIG] == SECRETS + file.name
    assert environment["USERSVC_SERVER__SECRET_KEY_FILE"] == SECRETS + secret.name
    environment["USERSVC_SERVER__SECRET_KEY_FILE"] = str(secret)
    return configuration.load(file, environ=environment)


def _pairs(instruction: str) -> list[tuple[str, str]]:
    return [
        (name, value)
        for words in _instructions(instruction)
        for name, _, value in (word.partition("=") for word in words.split())
    ]


def test_the_settings_for_compose_are_right(tmp_path: Path) -> None:
    settings = _settings_of_compose(tmp_path, uncommented=False)
    assert settings.on_postgresql
    assert settings.database.url.count("PASSWORD") == 1
    assert not settings.runs_worker


def test_so_are_those_to_choose_from_and_they_name_the_services(tmp_path: Path) -> None:
    settings = _settings_of_compose(tmp_path, uncommented=True)
    assert settings.database.url.endswith("@postgres/usersvc")
    assert settings.queue.url.startswith("redis://redis:")
    assert settings.mail.smtp_host == "mail"
    assert {"postgres", "redis", "mail"} <= SERVICES.keys()
    [address] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert settings.server.trusted_proxies == address["gateway"]


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_settings_that_belong_to_a_proxy_are_right(proxy: str) -> None:
    named = re.findall(r'\b([a-z]+)\.([a-z_]+) = ("[^"]*")', _text(proxy))
    assert [f"{table}.{key}" for table, key, _ in named] == ["server.public_url", "server.trusted_proxies"]
    given = {variable(table, key): tomllib.loads(f"it = {value}")["it"] for table, key, value in named}
    settings = configuration.load(environ=given)
    assert settings.public_url.startswith("https://")
    assert f"\n{settings.public_url.removeprefix('https://')} {{" in _text(proxy) or (
        f"server_name {settings.public_url.removeprefix('https://')};" in _text(proxy)
    )


# --- ports and paths


def test_every_port_is_the_one_that_is_listened_on() -> None:
    port = str(Settings.model_fields["server"].annotation.model_fields["port"].default)
    assert _instructions("EXPOSE") == [port]
    [health] = _instructions("HEALTHCHECK")
    assert f"('127.0.0.1', {port}," in health
    assert SERVICES["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert re.findall(r"\bserver (127\.[\d.]+:\d+);", _text("nginx.conf")) == [f"127.0.0.1:{port}"]
    assert re.findall(r"\breverse_proxy (\S+) {", _text("Caddyfile")) == [f"127.0.0.1:{port}"]


def test_nothing_is_opened_to_the_world() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_proof_asks_what_the_healthcheck_asks() -> None:
    [health] = _instructions("HEALTHCHECK")
    _, _, code = json.loads(health[health.index("[") :])
    assert f'health="{code}"' in _text("prove.sh")


def test_the_data_directory_is_the_volume_and_nothing_else_is_written() -> None:
    assert _instructions("VOLUME") == [DATA]
    assert dict(_pairs("ENV"))["USERSVC_SERVER__DATA_DIR"] == DATA
    for service in OURS:
        assert SERVICES[service]["volumes"] == [f"data:{DATA}"]
        assert SERVICES[service]["read_only"] is True
    for name in UNITS:
        unit = _unit(name)["Service"]
        assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"
        assert unit["ProtectSystem"] == "strict"


def test_every_secret_is_a_file_that_git_ignores() -> None:
    files = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in files}
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for name, service in SERVICES.items():
        mounted = set(service.get("secrets", []))
        used = [value for value in service.get("environment", {}).values() if value.startswith(SECRETS)]
        assert {value.removeprefix(SECRETS) for value in used} == mounted, name
        assert mounted <= files.keys()


def test_what_the_dockerfile_copies_is_there_and_nothing_else_is_sent() -> None:
    copied = [words.split()[:-1] for words in _instructions("COPY") if not words.startswith("--from")]
    sources = sorted(source for words in copied for source in words)
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules[1] == "*"
    assert sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!")) == sources
    assert all((ROOT / source).exists() for source in sources)


# --- times and limits


def _longest_stop() -> tuple[int, int]:
    """What docs/operations.md says of `serve` with several processes, and of `worker`."""
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [serving] = re.findall(r"more than `server\.drain_seconds` \+ (\d+) s", operations)
    return Settings().server.drain_seconds + int(serving), worker.STOP_SECONDS


def test_who_stops_has_the_time_that_it_may_need() -> None:
    serving, working = _longest_stop()
    assert serving > MOST_ACCEPT_SECONDS + STOP_SECONDS + worker.STOP_SECONDS
    assert _seconds(SERVICES["api"]["stop_grace_period"]) > serving
    assert _seconds(SERVICES["worker"]["stop_grace_period"]) > working
    serve, work = (_unit(name)["Service"]["TimeoutStopSec"] for name in UNITS)
    assert _seconds(serve) > serving
    assert _seconds(work) > working


def test_both_units_are_protected_alike() -> None:
    one, other = (dict(_unit(name)["Service"]) for name in UNITS)
    assert {key for key in one | other if one.get(key) != other.get(key)} == {"ExecStart", "TimeoutStopSec"}


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(k|KiB)", size).groups()
    return int(number) * {"k": 1024, "KiB": 1024}[unit]


def _in_nginx(directive: str) -> Any:
    [value] = re.findall(rf"^ *{directive} (.*);$", _text("nginx.conf"), re.MULTILINE)
    return value


def test_the_limits_of_the_proxies_are_those_of_usersvc() -> None:
    count, size = _in_nginx("large_client_header_buffers").split()
    assert int(count) * _bytes(size) == MOST_HEADER_BYTES
    assert _bytes(_in_nginx("client_max_body_size")) == MOST_BODY_BYTES
    assert _seconds(_in_nginx("client_header_timeout")) == HEADER_SECONDS
    assert _seconds(_in_nginx("client_body_timeout")) == BODY_SECONDS
    caddy = dict(re.findall(r"^\t+(\w+) (\d+\w+)$", _text("Caddyfile"), re.MULTILINE))
    assert _bytes(caddy["max_header_size"]) == MOST_HEADER_BYTES
    assert (_seconds(caddy["read_header"]), _seconds(caddy["read_body"])) == (HEADER_SECONDS, BODY_SECONDS)


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_a_proxy_answers_itself_is_what_usersvc_would(proxy: str) -> None:
    text = _text(proxy)
    answers = re.findall(r"return (\d+) '({.*})';", text)
    answers += [(status, body) for body, status in re.findall(r"respond @metrics `({.*})` (\d+)", text)]
    assert answers
    for status, body in answers:
        code, message = TRANSPORT[int(status)]
        assert json.loads(body) == {
            "success": False,
            "data": None,
            "error": {"code": code, "message": message},
        }
