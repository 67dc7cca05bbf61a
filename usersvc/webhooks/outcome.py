"""What became of one try to send."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Of the answer nothing is kept but its status."""

    word: str
    """The status, or why there is none; for the log of deliveries."""
    status: int | None = None
    retry_after: int = 0
    """Seconds that the receiver asks for, within bounds."""

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing more, ever (Standard Webhooks)."""
        return self.status == 410
