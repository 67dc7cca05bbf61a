"""Counters of the limits. Keys are digests: the table names neither addresses nor networks."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from usersvc.db.models import throttle
from usersvc.db.prepared import Prepared
from usersvc.db.types import insert_if_absent
from usersvc.repositories.purging import delete_some
from usersvc.security.limits import Counter

_COLUMNS = [throttle.c[name] for name in Counter.__dataclass_fields__]
# Built once: to build them took longer than to run them. An UPDATE sets the columns that its values name.
_SAME = throttle.c.kind == bindparam("b_kind"), throttle.c.key_digest == bindparam("b_key_digest")
_FOUND = select(*_COLUMNS).where(*_SAME)
_FIND = Prepared(_FOUND)
_HOLD = Prepared(_FOUND.with_for_update())
_SAVE = Prepared(update(throttle).where(*_SAME))
_DELETE = delete(throttle).where(*_SAME)


class Throttle:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, kind: str, key_digest: bytes, *, at: datetime) -> Counter:
        row = _FIND.first(self._connection, _same(kind, key_digest))
        return Counter(*row) if row else Counter.new(at)

    def hold(self, kind: str, key_digest: bytes, *, at: datetime) -> Counter:
        """The counter, which nobody else counts on before this transaction ends.

        There must be a row to hold, so that two who are the first do not both find none.
        """
        fresh = Counter.new(at)
        values = {"kind": kind, "key_digest": key_digest, **vars(fresh)}
        while True:
            row = _HOLD.first(self._connection, _same(kind, key_digest))
            if row:
                return Counter(*row)
            # Where another one inserted it meanwhile, it may be purged or begun anew before it is held.
            if insert_if_absent(self._connection, throttle, values, on=["kind", "key_digest"]):
                return fresh

    def save(self, kind: str, key_digest: bytes, counter: Counter) -> None:
        """Of a counter that is held."""
        _SAVE.rowcount(self._connection, _same(kind, key_digest) | vars(counter))

    def delete(self, kind: str, key_digest: bytes) -> bool:
        return self._connection.execute(_DELETE, _same(kind, key_digest)).rowcount == 1

    def count_expired(self, at: datetime) -> int:
        counted = select(func.count()).select_from(throttle).where(throttle.c.expires_at <= at)
        return self._connection.execute(counted).scalar_one()

    def delete_expired(self, at: datetime, *, limit: int) -> int:
        return len(delete_some(self._connection, throttle, throttle.c.expires_at <= at, limit=limit))


def _same(kind: str, key_digest: bytes) -> dict[str, Any]:
    return {"b_kind": kind, "b_key_digest": key_digest}
