"""The words that options and arguments choose from."""

from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"


class Status(StrEnum):
    PENDING = "pending"
    INVITED = "invited"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
