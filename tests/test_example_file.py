"""usersvc.toml.example names every setting, truly: its meaning, its variable and its default."""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from tests.profiles import write_schema
from tests.smtp import ca_file
from usersvc import configuration
from usersvc.settings import Settings, keys, variable

TEXT = (Path(__file__).parent.parent / "usersvc.toml.example").read_text(encoding="utf-8")
FIELDS = {f"{table}.{key}": field for table, key, field in keys()}
# TOML cannot say "nothing", so these show an example.
WITHOUT_DEFAULT = [name for name, field in FIELDS.items() if field.default is None]


@dataclass
class Entry:
    """One paragraph: what it means, its variable, and the key itself, commented out."""

    name: str
    meaning: str
    variable: str
    value: Any


def paragraphs() -> list[list[str]]:
    return [paragraph.split("\n") for paragraph in TEXT.removesuffix("\n").split("\n\n")]


def entries() -> list[Entry]:
    found, table = [], ""
    for lines in paragraphs()[1:]:
        if heading := re.fullmatch(r"\[([a-z]+)]", lines[0]):
            assert len(lines) == 1, lines
            table = heading[1]
            continue
        assert all(line.startswith("# ") for line in lines), lines
        *meaning, name, assignment = (line.removeprefix("# ") for line in lines)
        [(key, value)] = tomllib.loads(assignment).items()
        found.append(Entry(f"{table}.{key}", " ".join(meaning), name, value))
    return found


def uncommented(*, without: list[str]) -> str:
    keys_left_out = [name.partition(".")[2] for name in without]
    lines = [
        line.removeprefix("# ") if re.match(r"# [a-z_]+ = ", line) else line
        for line in TEXT.splitlines()
        if not line.startswith(tuple(f"# {key} = " for key in keys_left_out))
    ]
    return "\n".join(lines)


def in_toml(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.as_posix() if isinstance(value, Path) else value


def test_every_key_stands_in_it_once_in_order_and_nothing_else() -> None:
    assert [entry.name for entry in entries()] == list(FIELDS)


def test_every_table_stands_in_it_once() -> None:
    headings = re.findall(r"^\[(.+)]$", TEXT, re.MULTILINE)
    assert Counter(headings) == Counter(Settings.model_fields.keys())


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_a_key_stands_with_its_meaning_variable_and_default(entry: Entry) -> None:
    field = FIELDS[entry.name]
    assert entry.meaning == field.description
    assert entry.variable == variable(*entry.name.split("."))
    if entry.name in WITHOUT_DEFAULT:
        assert isinstance(entry.value, str | bool)
        assert entry.value
    else:
        expected = in_toml(field.default)
        assert entry.value == expected
        assert type(entry.value) is type(expected)


def test_it_begins_with_a_few_lines_on_how_to_use_it() -> None:
    introduction = paragraphs()[0]
    assert 3 <= len(introduction) <= 5
    assert all(line.startswith("# ") for line in introduction)
    assert "usersvc.toml" in introduction[0]


def test_it_is_easy_to_read_in_a_terminal() -> None:
    assert max(len(line) for line in TEXT.splitlines()) <= 100
    assert TEXT.isascii()
    assert not re.search(r"[ \t]$|\n\n\n", TEXT, re.MULTILINE)


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "usersvc.toml"
    path.write_text(TEXT, encoding="utf-8")
    settings = configuration.load(path, environ={})
    assert settings.model_dump() == Settings().model_dump()
    assert {value.origin for value in settings.values()} == {"default"}


def test_with_every_default_uncommented_it_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "usersvc.toml"
    path.write_text(uncommented(without=WITHOUT_DEFAULT), encoding="utf-8")
    settings = configuration.load(path, environ={})
    assert settings.model_dump() == Settings().model_dump()
    from_file = [value.key for value in settings.values() if value.origin == str(path)]
    assert from_file == [name for name in FIELDS if name not in WITHOUT_DEFAULT]


def test_with_every_key_uncommented_it_loads_where_the_named_files_exist(tmp_path: Path) -> None:
    text = uncommented(without=[])
    document = tomllib.loads(text)
    assert {f"{table}.{key}" for table, found in document.items() for key in found} == set(FIELDS)
    secret = tmp_path / document["server"]["secret_key_file"]
    secret.write_text("Q7vN2mK9xR4tB8wL3pZ6yH1cD5fG0jSa")
    secret.chmod(0o600)
    templates = tmp_path / document["mail"]["templates_dir"]
    templates.mkdir()
    templates.chmod(0o755)
    for name in ("profile_schema", "attributes_schema"):
        write_schema(tmp_path / document["profiles"][name], {})
    assert ca_file(trustme.CA(), tmp_path).name == document["webhooks"]["ca_file"]
    path = tmp_path / "usersvc.toml"
    path.write_text(text, encoding="utf-8")
    settings = configuration.load(path, environ={})
    assert settings.secret_key_path == secret
    assert settings.templates_dir == templates
