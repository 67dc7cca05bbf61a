"""The queue: JSON in a file of its own, and nothing in it that matters."""

import json
import pickle
import sqlite3
import stat
from pathlib import Path

import pytest
from huey.registry import Message

from usersvc.core import Core
from usersvc.jobs.queue import JsonSerializer, make_queue
from usersvc.jobs.tasks import register


def test_a_message_is_json_that_names_the_task_and_carries_nothing(core: Core) -> None:
    queue = make_queue(core.settings)
    register(queue, core, owner="test").deliver_outbox()
    with sqlite3.connect(core.settings.queue_path) as connection:
        [(data,)] = connection.execute("SELECT data FROM task").fetchall()
    connection.close()
    message = Message(*json.loads(bytes(data)))
    assert message.name.endswith("deliver_outbox")
    assert list(message.args) == []
    assert dict(message.kwargs) == {}


def test_what_is_no_json_does_not_get_in_and_a_pickle_does_not_get_out() -> None:
    serializer = JsonSerializer()
    with pytest.raises(TypeError):
        serializer.serialize(Message("1", "task", args=(object(),)))
    with pytest.raises(ValueError, match=r".*"):
        serializer.deserialize(pickle.dumps(Message("1", "task")))


def test_the_queue_has_a_file_of_its_own_that_only_its_owner_reads(core: Core) -> None:
    make_queue(core.settings)
    path: Path = core.settings.queue_path
    assert path != core.database.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_results_are_not_kept(core: Core) -> None:
    assert make_queue(core.settings).results is False
