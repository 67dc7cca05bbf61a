"""`make torture` in small: every way to kill at least once, and nothing is lost and nothing half done."""

import secrets
from pathlib import Path

import pytest

from tests.torture import torture

pytestmark = [
    pytest.mark.process,
    # What was begun is worked off: on a busy machine that takes longer than the killing.
    pytest.mark.timeout(400),
]

SECONDS = 15


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_r01_r02_what_was_acknowledged_outlives_every_kill_once_and_whole(
    database: str, tmp_path: Path
) -> None:
    report = torture(database, tmp_path, seconds=SECONDS, seed=secrets.randbits(32))
    assert report.wrong == [], report
