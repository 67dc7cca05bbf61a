"""Commands run by Typer's own runner, in a folder of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from usersvc import logs
from usersvc.cli.app import app

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
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
