"""The schemas that the settings name: read once, checked with everything else."""

from pathlib import Path

import pytest

from tests.profiles import ATTRIBUTES, PROFILE, write_schema
from usersvc import configuration
from usersvc.settings import SettingsError


def _settings_file(folder: Path, text: str) -> Path:
    path = folder / "usersvc.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_schemas_are_read_beside_the_settings_file_and_once(tmp_path: Path) -> None:
    write_schema(tmp_path / "p.json", PROFILE)
    write_schema(tmp_path / "a.json", ATTRIBUTES)
    path = _settings_file(
        tmp_path, '[profiles]\nprofile_schema = "p.json"\nattributes_schema = "a.json"\nmax_bytes = 100\n'
    )
    settings = configuration.load(path, environ={})
    assert settings.schema_paths == {"profile": tmp_path / "p.json", "attributes": tmp_path / "a.json"}
    assert settings.schemas.keys() == {"profile", "attributes"}
    write_schema(tmp_path / "a.json", "broken by now")
    assert settings.schemas["attributes"].problems({"plan": "paid"}, "attributes") == []
    assert configuration.load(environ={}).schemas == {}


def test_what_is_wrong_with_both_is_told_at_once_with_the_other_mistakes(tmp_path: Path) -> None:
    write_schema(tmp_path / "p.json", {"type": "objekt"})
    path = _settings_file(tmp_path, '[profiles]\nprofile_schema = "p.json"\n[sessions]\nidle_days = 300\n')
    environ = {"USERSVC_PROFILES__ATTRIBUTES_SCHEMA": "nowhere.json"}
    with pytest.raises(SettingsError) as caught:
        configuration.load(path, environ=environ)
    idle, profile, attributes = caught.value.mistakes
    assert idle.startswith(f"{path}: sessions.idle_days: ")
    assert profile.startswith(f"{path}: profiles.profile_schema: {tmp_path}/p.json: type: ")
    assert attributes == (
        "USERSVC_PROFILES__ATTRIBUTES_SCHEMA: profiles.attributes_schema: "
        f"there is no file {tmp_path}/nowhere.json"
    )
