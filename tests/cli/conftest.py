"""Commands run by Typer's own runner, in a folder of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from usersvc import configuration, logs
from usersvc.cli.app import app
from usersvc.core import Core, build
from usersvc.setting_types import without_password

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_values: dict[str, object]) -> Path:
    """Where nothing is yet; on PostgreSQL, beside a database in which nothing is yet."""
    monkeypatch.chdir(tmp_path)
    for name, value in database_values.items():
        monkeypatch.setenv(f"USERSVC_{name.upper()}", str(value))
    monkeypatch.setenv("USERSVC_PASSWORDS__BCRYPT_COST", "10")
    # The runner closes what a command logged to; the next test must not write there.
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*arguments: str, text: str | None = None, code: int = 0, **more: Any) -> Any:
        result = CliRunner().invoke(app, arguments, input=text, **more)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
        return result

    return run


@pytest.fixture
def inside(folder: Path) -> Iterator[Core]:
    """The database that the commands work on, for what no command shows or does. It must be there."""
    core = build(configuration.load())
    yield core
    core.close()


@pytest.fixture
def address(folder: Path) -> str:
    """What a command says of its database."""
    settings = configuration.load()
    return without_password(settings.database.url) or str(folder / "data" / "usersvc.db")
