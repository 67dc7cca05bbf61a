"""docs/status.svg: what `usersvc status` looks like, of figures that nobody has."""

import io
import re
from datetime import UTC, datetime, timedelta

from rich.console import Console

from usersvc.cli.scraping import Serving
from usersvc.cli.status_view import panels
from usersvc.services.status import Queue, Status, Storage

_AT = datetime(2026, 11, 29, 2, 20, 11, tzinfo=UTC)
_COLUMNS = 80
STATUS = Status(
    at=_AT,
    counted_to=100_000,
    users={"active": 84_210, "pending": 1203, "invited": 42, "deactivated": 317},
    sessions=20_418,
    activity={
        "logins": {"minute": 31, "hour": 1840, "day": 24_610},
        "failed_logins": {"minute": 2, "hour": 96, "day": 1204},
        "registrations": {"minute": 1, "hour": 44, "day": 512},
    },
    mails=Queue(
        {"due": 3, "sent": 18_220, "dead": 0, "failed": 2, "dropped": 140}, _AT - timedelta(seconds=41), None
    ),
    deliveries=Queue(
        {"due": 1, "sent": 9120, "dead": 4, "failed": 0, "dropped": 0}, _AT - timedelta(minutes=3), None
    ),
    worker_seen_at=_AT - timedelta(seconds=9),
    next_rotation_at=_AT + timedelta(days=61),
    database=Storage("SQLite", "/var/lib/usersvc/data/usersvc.db", "current", 412 << 20, 4 << 20),
)
SERVING = Serving(processes=2, hashing=1, waiting=0, turned_away=0)


def write() -> str:
    """Without the fonts that Rich would have fetched from elsewhere: the reader's own will do."""
    out = Console(
        width=_COLUMNS,
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        legacy_windows=False,
    )
    out.print(panels(STATUS, SERVING, width=_COLUMNS))
    drawn = out.export_svg(title="usersvc status", unique_id="status")
    without_fonts = re.sub(r"\s*@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", without_fonts, flags=re.MULTILINE)
