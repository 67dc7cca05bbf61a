"""The servers that tests start are there, and are what they are called."""

import pytest
import redis

from tests.servers import postgresql, redis_server


@pytest.mark.process
def test_postgresql_starts_stops_and_keeps_what_it_has() -> None:
    with postgresql() as server:
        name = server.new_database()
        server.execute("CREATE TABLE kept (x int)", database=name)
        server.stop()
        server.start()
        assert server.execute("SELECT count(*) FROM kept", database=name) == [(0,)]
        copy = server.new_database(template=name)
        assert server.execute("SELECT count(*) FROM kept", database=copy) == [(0,)]
        server.drop_database(name)


@pytest.mark.process
def test_redis_starts_empty() -> None:
    with redis_server() as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 0
