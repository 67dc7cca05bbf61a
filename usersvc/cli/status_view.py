"""What `status` shows: panels on a terminal, three beside each other where they fit; where piped, a table."""

from dataclasses import dataclass
from datetime import datetime

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from usersvc.cli.output import shown
from usersvc.cli.scraping import Serving
from usersvc.services.checks.finding import duration, size
from usersvc.services.checks.workers import OVERDUE, SILENT
from usersvc.services.status import Queue, Status

_WIDE = 120
"""Columns from which on three panels stand beside each other."""
_LONG = 10_000
_GOOD, _BAD, _NOTABLE, _QUIET = "green", "bold red", "yellow", "dim"


@dataclass(frozen=True)
class Block:
    title: str
    rows: list[tuple[str, list[Text]]]
    """What, and its values: one, or one a column."""
    columns: tuple[str, ...] = ()


def blocks(status: Status, serving: Serving | None, *, exact: bool = False) -> list[Block]:
    return [
        _users(status),
        _activity(status, exact),
        _server(status, serving),
        _queue("Mail", status, status.mails),
        _queue("Webhooks", status, status.deliveries),
        _database(status),
    ]


def table_rows(status: Status, serving: Serving | None) -> list[tuple[str, str, str]]:
    """One a figure, for what reads lines."""
    return [
        (block.title.lower(), f"{name}, last {column}" if column else name, value.plain)
        for block in blocks(status, serving, exact=True)
        for name, values in block.rows
        for column, value in zip(block.columns or ("",), values, strict=True)
    ]


def panels(
    status: Status, serving: Serving | None, *, width: int, foot: Text | None = None
) -> RenderableType:
    beside = 3 if width >= _WIDE else 2
    found = blocks(status, serving)
    rows = [found[at : at + beside] for at in range(0, len(found), beside)]
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    head.add_row(Text("usersvc status", style="bold"), Text(shown(status.at), style=_QUIET))
    return Group(head, *map(_beside, rows), *([foot] if foot else []))


def _beside(found: list[Block]) -> Table:
    row = Table.grid(expand=True)
    height = max(len(block.rows) + bool(block.columns) for block in found) + 2
    for _ in found:
        row.add_column(ratio=1)
    row.add_row(*(_panel(block, height) for block in found))
    return row


def _panel(block: Block, height: int) -> Panel:
    table = Table(box=None, expand=True, pad_edge=False, show_header=bool(block.columns), header_style=_QUIET)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for name in block.columns or ("",):
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    for name, values in block.rows:
        table.add_row(name, *values)
    title = Text(block.title, style="bold not dim")
    return Panel(table, title=title, title_align="left", box=ROUNDED, border_style=_QUIET, height=height)


def _users(status: Status) -> Block:
    rows = [(name, [_count(number, status)]) for name, number in status.users.items()]
    return Block("Users", [*rows, ("live sessions", [_count(status.sessions, status)])])


def _activity(status: Status, exact: bool) -> Block:
    """Three figures a row, which beside each other leave room for four digits each."""
    rows = []
    for name, windows in status.activity.items():
        style = _NOTABLE if name == "failed_logins" else ""
        counts = [
            _count(number, status, style if number else "", short=not exact) for number in windows.values()
        ]
        rows.append((name.replace("_", " "), counts))
    [first, *_] = status.activity.values()
    return Block("Activity", rows, tuple(first))


def _server(status: Status, serving: Serving | None) -> Block:
    own = [("worker", [_worker(status)]), ("keys", [_rotation(status)])]
    return Block("Processes", [*_api(serving), *own])


def _api(serving: Serving | None) -> list[tuple[str, list[Text]]]:
    if serving is None:
        return [("API", [Text("not reachable", _NOTABLE)])]
    waiting = f"{serving.hashing} now, {serving.waiting} waiting"
    busy = _NOTABLE if serving.waiting else ""
    return [
        ("API", [Text(_processes(serving.processes), _GOOD)]),
        ("hashing", [Text(waiting, busy)]),
        ("turned away", [Text(f"{serving.turned_away:,}", _NOTABLE if serving.turned_away else "")]),
    ]


def _processes(number: int) -> str:
    return f"{number} process{'' if number == 1 else 'es'}"


def _worker(status: Status) -> Text:
    if status.worker_seen_at is None:
        return Text("none was ever seen", _BAD)
    silent = status.at - status.worker_seen_at
    return Text(f"seen {_ago(status, status.worker_seen_at)}", _BAD if silent > SILENT else _GOOD)


def _rotation(status: Status) -> Text:
    if status.next_rotation_at is None:
        return Text("rotated by hand", _QUIET)
    left = status.next_rotation_at - status.at
    return Text(f"rotate in {duration(left)}" if left.total_seconds() > 0 else "rotate now")


def _queue(title: str, status: Status, queue: Queue) -> Block:
    counts = dict(queue.by_status)
    late = queue.overdue_since is not None and status.at - queue.overdue_since > OVERDUE
    due = _count(counts.pop("due"), status, _BAD if late else "")
    if queue.waiting_since:
        due.append(f", {_ago(status, queue.waiting_since, ' old')}")
    rows = [("due", [due])]
    for name, number in counts.items():
        given_up = number and name in ("dead", "failed")
        rows.append((name, [_count(number, status, _NOTABLE if given_up else "")]))
    return Block(title, rows)


def _database(status: Status) -> Block:
    found = status.database
    rows = [
        ("kind", [Text(found.kind)]),
        ("size", [Text(size(found.bytes))]),
        ("schema", [Text(found.schema, _GOOD if found.schema == "current" else _BAD)]),
    ]
    if found.kind == "SQLite":
        rows.insert(2, ("write-ahead log", [Text(size(found.log_bytes))]))
    return Block("Database", rows)


def _count(number: int, status: Status, style: str = "", *, short: bool = False) -> Text:
    """Where counting stopped, that there may be more."""
    written = f"{number / 1000:.3g}k" if short and number >= _LONG else f"{number:,}"
    return Text(f"{written}{'+' if number >= status.counted_to else ''}", style)


def _ago(status: Status, at: datetime, word: str = " ago") -> str:
    """A clock that was set back makes nothing negative."""
    return f"{duration(max(status.at - at, status.at - status.at))}{word}"
