"""Counters of the limits. Keys are digests: the table names neither addresses nor networks."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from usersvc.db.models import throttle
from usersvc.db.types import insert_if_absent


class Throttle:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(
        self, kind: str, key_digest: bytes, *, at: datetime, window: timedelta, most: int, pause: timedelta
    ) -> bool:
        """Count one, if fewer than `most` were counted in the window and the last is `pause` ago."""
        same = (throttle.c.kind == kind, throttle.c.key_digest == key_digest)
        fresh = {
            "kind": kind,
            "key_digest": key_digest,
            "window_started_at": at,
            "count": 1,
            "level": 0,
            "blocked_until": at + pause,
            "expires_at": at + max(window, pause),
        }
        if insert_if_absent(self._connection, throttle, fresh, on=["kind", "key_digest"]):
            return True
        began, count, blocked_until = self._connection.execute(
            select(throttle.c.window_started_at, throttle.c.count, throttle.c.blocked_until)
            .where(*same)
            .with_for_update()
        ).one()
        # A clock that was set far back begins anew; one that was corrected a little changes nothing.
        within = abs(at - began) < window
        pausing = blocked_until is not None and timedelta(0) < blocked_until - at <= 2 * pause
        if pausing or (within and count >= most):
            return False
        if within:
            fresh |= {
                "window_started_at": began,
                "count": count + 1,
                "expires_at": max(began + window, at + pause),
            }
        self._connection.execute(update(throttle).where(*same).values(fresh))
        return True

    def count_expired(self, at: datetime) -> int:
        counted = select(func.count()).select_from(throttle).where(throttle.c.expires_at <= at)
        return self._connection.execute(counted).scalar_one()

    def delete_expired(self, at: datetime, *, limit: int) -> int:
        chosen = (
            select(throttle.c.kind, throttle.c.key_digest).where(throttle.c.expires_at <= at).limit(limit)
        ).subquery()
        statement = delete(throttle).where(
            throttle.c.expires_at <= at,
            select(chosen.c.kind)
            .where(chosen.c.kind == throttle.c.kind, chosen.c.key_digest == throttle.c.key_digest)
            .exists(),
        )
        return self._connection.execute(statement).rowcount
