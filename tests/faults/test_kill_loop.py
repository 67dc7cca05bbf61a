"""`make torture` and `make soak` in small: every way to kill at least once, then a while without.

Nothing is lost, nothing half done, and what lives under load holds no more in the end than in the beginning.
"""

import secrets
from pathlib import Path

import pytest

from tests.torture import Plan, torture

pytestmark = [
    pytest.mark.long,
    pytest.mark.process,
    # What was begun is worked off: on a busy machine that takes longer than the killing.
    pytest.mark.timeout(600),
]

PLAN = Plan(seconds=15, calm_seconds=6.5, settled=2)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_r01_r02_r35_what_was_acknowledged_outlives_every_kill_and_what_lives_does_not_grow(
    database: str, tmp_path: Path
) -> None:
    report = torture(database, tmp_path, PLAN, seed=secrets.randbits(32))
    assert report.wrong == [], report
