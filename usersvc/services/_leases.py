"""How long a worker has for what it took, and when what failed is tried again: mails and webhooks alike."""

import random
import time
from collections.abc import Callable
from datetime import timedelta

from usersvc.errors import DatabaseBusy, DatabaseUnavailable

LEASE = timedelta(minutes=5)
PAUSES = [timedelta(minutes=m) for m in (1, 5, 15, 60, 180, 360)]
GIVE_UP_AFTER = timedelta(hours=48)
# Seconds, less than a stop waits for what is in hand.
_SETTLE_PAUSES = (0.5, 1, 2, 4, 8)


def pause(attempts: int) -> timedelta:
    """Until the next try after so many."""
    longest = PAUSES[min(attempts, len(PAUSES)) - 1]
    return longest * random.uniform(0.9, 1.1)  # noqa: S311 - spreads retries, protects nothing


def patiently(step: Callable[[], object]) -> None:
    """Do this step although the database may be away for a while."""
    for seconds in _SETTLE_PAUSES:
        try:
            step()
            return
        except (DatabaseBusy, DatabaseUnavailable):
            time.sleep(seconds)
    step()
