"""The only place that reads the time of day. Deadlines inside a process use time.monotonic()."""

from datetime import UTC, datetime, timedelta


def rfc_3339(at: datetime) -> str:
    """As times are written everywhere: in UTC, with Z. Takes a time in UTC."""
    return at.isoformat().replace("+00:00", "Z")


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class MovedClock(Clock):
    """A clock that stands still until it is moved, for tests."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        """Take the arguments of timedelta; negative values go back."""
        self.at += timedelta(**by)
