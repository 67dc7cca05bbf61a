"""Times as they are given to commands."""

import re
from datetime import UTC, datetime, timedelta

import typer

from usersvc.clock import Clock

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def time(text: str) -> datetime:
    """So long ago, or a date or a time; UTC unless it says otherwise."""
    if found := _ago(text):
        return found
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        forms = "90s, 15m, 2h or 3d ago, 2026-11-22 or 2026-11-22T05:19"
        raise typer.BadParameter(f"{text} is no time: take {forms}.") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def since(text: str) -> datetime:
    """When that span of time began, if it ends now."""
    if found := _ago(text):
        return found
    raise typer.BadParameter(f"{text} is no span of time: take 90s, 15m, 2h or 90d.")


def _ago(text: str) -> datetime | None:
    if span := re.fullmatch(r"(\d{1,5})([smhd])", text, re.ASCII):
        return Clock().now() - timedelta(**{_UNITS[span[2]]: int(span[1])})
    return None
