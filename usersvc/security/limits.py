"""The arithmetic of limits: whether one more is allowed, and what a counter says after it.

Pure functions of a counter and a time; where counters are kept is no matter here. A clock that is set
far back begins anew, one that is corrected a little changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

_NEVER = timedelta(0)


@dataclass(frozen=True)
class Counter:
    window_started_at: datetime
    count: int
    level: int
    """How often it was blocked in a row; of an account: 1 once it is locked."""
    blocked_until: datetime | None
    expires_at: datetime
    """From then on it means nothing any more."""

    @classmethod
    def new(cls, at: datetime) -> "Counter":
        return cls(at, 0, 0, None, at)


class Rule(Protocol):
    def allowed_at(self, counter: Counter, at: datetime) -> datetime | None:
        """None where one more is allowed at this time, else from when on."""
        ...

    def counted(self, counter: Counter, at: datetime) -> Counter:
        """After one more."""
        ...

    def given_back(self, counter: Counter, at: datetime) -> Counter:
        """After one that was counted did not take place."""
        ...


@dataclass(frozen=True)
class PerWindow:
    """At most `most` in a window that begins with the first, and a pause after each."""

    most: int
    window: timedelta
    pause: timedelta = _NEVER

    def allowed_at(self, counter: Counter, at: datetime) -> datetime | None:
        if counter.blocked_until and _NEVER < counter.blocked_until - at <= 2 * self.pause:
            return counter.blocked_until
        if counter.count >= self.most and self._within(counter, at):
            return counter.window_started_at + self.window
        return None

    def counted(self, counter: Counter, at: datetime) -> Counter:
        blocked_until = at + self.pause if self.pause else None
        if not counter.count or not self._within(counter, at):
            return Counter(at, 1, 0, blocked_until, at + max(self.window, self.pause))
        ends = max(counter.window_started_at + self.window, at + self.pause)
        return replace(counter, count=counter.count + 1, blocked_until=blocked_until, expires_at=ends)

    def given_back(self, counter: Counter, at: datetime) -> Counter:
        if not self._within(counter, at):
            return counter
        return replace(counter, count=max(0, counter.count - 1))

    def _within(self, counter: Counter, at: datetime) -> bool:
        return abs(at - counter.window_started_at) < self.window


@dataclass(frozen=True)
class Escalating:
    """`most` in a window, then a pause before each further one, doubling from `pause` to `longest`.

    Forgotten when nothing happened for `window` and `longest` after the last pause. Blocked as soon as
    the last one that is allowed begins, so that of many at once no more than `most` take place.
    """

    most: int
    window: timedelta
    pause: timedelta
    longest: timedelta

    def allowed_at(self, counter: Counter, at: datetime) -> datetime | None:
        if counter.blocked_until and _NEVER < counter.blocked_until - at <= self.longest:
            return counter.blocked_until
        return None

    def counted(self, counter: Counter, at: datetime) -> Counter:
        if not self._goes_on(counter, at):
            counter = Counter.new(at)
        count = counter.count + 1
        if count < self.most:
            return replace(counter, count=count, expires_at=self._forgotten_at(at))
        blocked_until = at + min(self.longest, self.pause * 2**counter.level)
        return replace(
            counter,
            count=count,
            level=counter.level + 1,
            blocked_until=blocked_until,
            expires_at=self._forgotten_at(blocked_until),
        )

    def given_back(self, counter: Counter, at: datetime) -> Counter:
        if not counter.count:
            return counter
        return replace(counter, count=counter.count - 1, level=max(0, counter.level - 1), blocked_until=None)

    def _goes_on(self, counter: Counter, at: datetime) -> bool:
        if counter.level:
            return abs(counter.expires_at - at) < 2 * (self.window + self.longest) and at < counter.expires_at
        return counter.count > 0 and abs(at - counter.window_started_at) < self.window

    def _forgotten_at(self, at: datetime) -> datetime:
        return at + self.window + self.longest


@dataclass(frozen=True)
class InARow:
    """`most` without one that succeeds in between, however long that takes; then no more until it is opened.

    Forgotten `forgotten` after the last one, unless it is locked by then (`level` 1).
    """

    most: int
    forgotten: timedelta
    _LOCKED_FOR = timedelta(days=3650)

    def is_full(self, counter: Counter, at: datetime) -> bool:
        return counter.count >= self.most and at < counter.expires_at

    def counted(self, counter: Counter, at: datetime) -> Counter:
        count = counter.count + 1 if at < counter.expires_at else 1
        level = counter.level if at < counter.expires_at else 0
        expires_at = counter.expires_at if level else at + self.forgotten
        return replace(counter, count=count, level=level, expires_at=expires_at)

    def given_back(self, counter: Counter, at: datetime) -> Counter:
        return replace(counter, count=max(0, counter.count - 1))

    def locked(self, counter: Counter, at: datetime) -> Counter:
        return replace(counter, level=1, expires_at=at + self._LOCKED_FOR)
