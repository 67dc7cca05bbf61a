"""The way that mail takes, as far as it can be told without sending any."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Route:
    where: str
    certificate_until: datetime | None = None
    """When the mail server's certificate ends; None where there is none."""
