"""The queue, of each kind: JSON, and nothing in it that matters."""

import json
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from huey.api import Huey
from huey.registry import Message
from sqlalchemy import inspect

from tests.conftest import Make
from tests.factories import together
from usersvc.core import Core
from usersvc.db.migrate import alembic_config
from usersvc.errors import DatabaseUnavailable
from usersvc.jobs.queue import JsonSerializer, make_queue
from usersvc.jobs.tasks import register

on_file = pytest.mark.parametrize("queue_values", ["file"], indirect=True)
all_in_postgresql = pytest.mark.parametrize(
    "queue_values", [pytest.param("all in postgresql", marks=pytest.mark.postgresql)], indirect=True
)


def test_a_message_is_json_that_names_the_task_and_carries_nothing(core: Core, queue: Huey) -> None:
    register(queue, core, owner="test").deliver_outbox()
    [data] = queue.storage.enqueued_items()
    message = Message(*json.loads(bytes(data)))
    assert message.name.endswith("deliver_outbox")
    assert list(message.args) == []
    assert dict(message.kwargs) == {}


def test_a_wake_up_is_taken_once_and_nothing_stays(core: Core, make_queues: Callable[[], Huey]) -> None:
    queue, other = make_queues(), make_queues()
    register(queue, core, owner="test").deliver_outbox()
    register(other, core, owner="other")
    task = other.dequeue()
    assert task.name == "deliver_outbox"
    other.execute(task)
    assert queue.dequeue() is None
    assert [store() for store in (queue.storage.result_store_size, queue.storage.schedule_size)] == [0, 0]


def test_what_is_no_json_does_not_get_in_and_a_pickle_does_not_get_out() -> None:
    serializer = JsonSerializer()
    with pytest.raises(TypeError):
        serializer.serialize(Message("1", "task", args=(object(),)))
    with pytest.raises(ValueError, match=r".*"):
        serializer.deserialize(pickle.dumps(Message("1", "task")))


@on_file
def test_the_queue_has_a_file_of_its_own_that_only_its_owner_reads(core: Core) -> None:
    make_queue(core.settings)
    path: Path = core.settings.queue_path
    assert path != core.database.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_results_are_not_kept(queue: Huey) -> None:
    assert queue.results is False


@on_file
def test_an_address_of_redis_with_what_nobody_knows_is_told(make_core: Make) -> None:
    for wrong in ("redis://:pepper@h/0?sokcet_timeout=3", "redis://:pepper@h/0?socket_timeout=soon"):
        _is_told(make_core(queue__url=wrong), "redis://:***@h/0")


@on_file
def test_an_address_that_libpq_cannot_read_is_told(make_core: Make) -> None:
    for wrong in ("postgresql://u:pepper@h/x?sslmoed=no", "postgresql://u:pepper%zz@h/x"):
        _is_told(make_core(queue__url=wrong), "postgresql://u:***@h/x")


def _is_told(core: Core, shown: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        make_queue(core.settings)
    [line] = str(caught.value).splitlines()
    assert shown in line
    assert "pepper" not in line


@all_in_postgresql
def test_the_tables_of_the_queue_are_no_concern_of_the_migrations(core: Core, queue: Huey) -> None:
    register(queue, core, owner="test").deliver_outbox()
    with core.read() as tx:
        assert inspect(tx.connection).has_table("huey_task")
        command.check(alembic_config(tx.connection))


@all_in_postgresql
def test_of_many_that_come_first_all_find_the_tables(core: Core, make_queues: Callable[[], Huey]) -> None:
    queues = [make_queues() for _ in range(8)]
    together(*(register(queue, core, owner="test").deliver_outbox for queue in queues))
    assert queues[0].storage.queue_size() == 8
