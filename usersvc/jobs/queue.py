"""Huey's queue out of the settings: a SQLite file, Redis or PostgreSQL; JSON messages, no results."""

import json
from typing import Any

from huey.api import Huey, PostgresHuey, RedisHuey, SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer

from usersvc.db.bounds import bounds_of
from usersvc.jobs.storages import FileQueue, RedisQueue
from usersvc.setting_types import is_redis
from usersvc.settings import Settings

# Part of the keys in Redis, and of each row in PostgreSQL.
NAME = "usersvc"


class JsonSerializer(Serializer):
    """Huey pickles by default; a queue that somebody else can write would then run his code."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(list(data)).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(bytes(data)))


def make_queue(settings: Settings) -> Huey:
    """Connects to no server yet. Raises DatabaseUnavailable where the file or the address is unusable."""
    url, common = settings.queue_url, _common()
    if not url:
        return SqliteHuey(storage_class=FileQueue, path=settings.queue_path, **common)
    if is_redis(url):
        return RedisHuey(storage_class=RedisQueue, url=url, **common)
    from usersvc.db.postgresql import connect_arguments
    from usersvc.jobs.postgresql_queue import PostgreSqlQueue

    arguments = connect_arguments(url, bounds_of(settings)) | {"application_name": "usersvc-queue"}
    return PostgresHuey(storage_class=PostgreSqlQueue, url=url, arguments=arguments, **common)


def _common() -> dict[str, Any]:
    return {"name": NAME, "results": False, "serializer": JsonSerializer(), "utc": True}
