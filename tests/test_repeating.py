"""The thread that does something again and again."""

import threading
from datetime import timedelta
from functools import partial

import pytest

from tests.processes import eventually
from usersvc.core import Core
from usersvc.errors import DatabaseBusy
from usersvc.repeating import Repeating
from usersvc.services import watching

EVERY = timedelta(milliseconds=5)


@pytest.mark.parametrize("error", [DatabaseBusy("The database is busy."), RuntimeError("a bug")])
def test_it_goes_on_after_it_could_not(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    done = []

    def look() -> None:
        done.append(threading.current_thread().name)
        if len(done) in (1, 2):
            raise error

    looks = Repeating(look, every=EVERY, name="looking")
    looks.start()
    eventually(lambda: len(done) > 3)
    looks.end()
    assert set(done) == {"looking"}
    assert str(error) in caplog.text
    assert "looking" not in {thread.name for thread in threading.enumerate()}


def test_what_lasts_is_told_once_each_time_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    fails = iter([True, True, True, False, True, True, False])
    over = threading.Event()

    def look() -> None:
        fail = next(fails, None)
        if fail is None:
            over.set()
        elif fail:
            raise DatabaseBusy

    looks = Repeating(look, every=EVERY, name="looking")
    looks.start()
    assert over.wait(60)
    looks.end()
    assert caplog.text.count("put off") == 2


def test_what_the_watch_finds_is_in_the_log(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    watch = Repeating(partial(watching.warn, core), every=EVERY, name="watch")
    watch.start()
    eventually(lambda: "none was ever seen" in caplog.text)
    watch.end()
