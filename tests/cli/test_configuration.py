"""`check-config` and `show-config`; what settings may be is tested in tests/test_configuration.py."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_right_settings_are_right(run: Run, folder: Path) -> None:
    assert run("check-config").stdout.startswith("The settings are valid (no file")
    (folder / "usersvc.toml").write_text("[server]\nport = 9000\n", encoding="utf-8")
    assert str(folder / "usersvc.toml") in run("check-config").stdout


def test_every_mistake_is_told_at_once_with_its_place(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "mine.toml"
    path.write_text('[server]\nport = "high"\nprot = 1\n[log]\nlevel = "loud"\n', encoding="utf-8")
    monkeypatch.setenv("USERSVC_SERVER__WORKERS", "many")
    monkeypatch.setenv("USERSVC_SERVER__WROKERS", "1")
    for command in ("check-config", "show-config", "serve", "worker", "migrate", "purge-tokens"):
        result = run("--config", str(path), command, code=78)
        for place in (
            f"{path}: server.port",
            f"{path}: server.prot",
            f"{path}: log.level",
            "USERSVC_SERVER__WORKERS: server.workers",
            "USERSVC_SERVER__WROKERS",
        ):
            assert place in result.stderr, command
    assert [entry.name for entry in folder.iterdir()] == ["mine.toml"]


def test_a_file_that_is_named_and_missing_is_a_mistake(run: Run, folder: Path) -> None:
    assert "no such settings file" in run("--config", "none.toml", "check-config", code=78).stderr


def test_other_variables_with_our_prefix_are_warned_about(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSVC_SERVICE_HOST", "10.0.0.1")
    assert "USERSVC_SERVICE_HOST" in run("check-config").stderr


@pytest.mark.sqlite
def test_show_config_names_origins_and_hides_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "T5x9Qw2Lr8Vb4Nc7Zk1Hm6Gd3Fj0PsYa"
    monkeypatch.setenv("USERSVC_SERVER__SECRET_KEY", secret)
    table = run("show-config").stdout
    assert secret not in table
    assert "USERSVC_SERVER__SECRET_KEY" in table
    values = {value["key"]: value for value in json.loads(run("show-config", "--json").stdout)}
    assert values["server.secret_key"] == {
        "key": "server.secret_key",
        "value": "***",
        "from": "USERSVC_SERVER__SECRET_KEY",
    }
    assert values["server.port"] == {"key": "server.port", "value": 8000, "from": "default"}
    assert values["server.public_url"]["value"] == "http://127.0.0.1:8000"
    assert values["database.url"]["value"].endswith("/data/usersvc.db")
    assert values["server.docs"]["value"] is True
