"""Many writers and readers of one file: nobody meets a lock, and what each was told is there, no more."""

from pathlib import Path

import pytest

from tests.faults.crowd import PROCESSES, THREADS, crowd, findings

pytestmark = [pytest.mark.process, pytest.mark.sqlite]

SECONDS = 3


def test_r12_sixteen_threads_of_four_processes_each_find_what_they_were_told(tmp_path: Path) -> None:
    told = crowd(tmp_path, seconds=SECONDS)
    assert findings(tmp_path, told) == []
    assert len(told) == PROCESSES * THREADS
    assert all(each.read for each in told)
    assert sum(each.written for each in told) > sum(each.busy for each in told)
