"""What other programs are told of an account; all of it, so that a new one has to be added here."""

from enum import StrEnum


class Event(StrEnum):
    REGISTERED = "user.registered"
    ACTIVATED = "user.activated"
    CHANGED = "user.changed"
    ROLE_CHANGED = "user.role_changed"
    DEACTIVATED = "user.deactivated"
    REACTIVATED = "user.reactivated"
    DELETED = "user.deleted"
    DELETION_SCHEDULED = "user.deletion_scheduled"
    DELETION_CANCELLED = "user.deletion_cancelled"
    ERASED = "user.erased"


TEST = "webhook.test"
"""What an operator sends to see whether it arrives."""
