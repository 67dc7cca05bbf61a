"""PostgreSQL's client programs, for tests that make backups."""

import os
from pathlib import Path

import pytest

from tests.databases import Databases


def on_the_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this test is on PostgreSQL."""
    if "postgresql" not in [mark.name for mark in request.node.iter_markers()]:
        return
    prepared: Databases = request.getfixturevalue("prepared_postgresql")
    monkeypatch.setenv("PATH", f"{prepared.server.programs}{os.pathsep}{os.environ['PATH']}")


def watched_pg_dump(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that writes down what it was called with, then does what it is asked."""
    told, watching = folder / "called", folder / "watching"
    watching.mkdir()
    program = watching / "pg_dump"
    program.write_text(
        f'#!/bin/sh\necho "$0 $@" >> {told}\nPATH="${{PATH#*:}}"\nexec pg_dump "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{watching}{os.pathsep}{os.environ['PATH']}")
    return told
