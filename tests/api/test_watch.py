"""The thread that looks for workers."""

import threading
from datetime import timedelta

import pytest

from tests.processes import eventually
from usersvc.api.watch import Watch
from usersvc.core import Core
from usersvc.errors import DatabaseBusy
from usersvc.services import watching

EVERY = timedelta(milliseconds=5)


def test_it_looks_again_after_it_could_not(
    core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = []

    def warn(core: Core) -> None:
        looks.append(core)
        if len(looks) == 1:
            raise DatabaseBusy("The database is busy.")

    monkeypatch.setattr(watching, "warn", warn)
    watch = Watch(core, every=EVERY)
    watch.start()
    eventually(lambda: len(looks) > 2)
    watch.end()
    assert "cannot look for a worker" in caplog.text
    assert set(looks) == {core}
    assert "watch" not in {thread.name for thread in threading.enumerate()}


def test_what_it_finds_is_in_the_log(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(core, every=EVERY)
    watch.start()
    eventually(lambda: "none was ever seen" in caplog.text)
    watch.end()
