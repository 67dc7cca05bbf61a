"""The bar of long work: how much is done, how fast, how long the rest takes. On a terminal alone."""

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from usersvc.cli.output import console


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} {self._unit}/s" if speed else "")


def progress_of(unit: str, *, hidden: bool = False) -> Progress:
    """On stderr, `hidden` where what is written would run through it."""
    out = console(err=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    ]
    return Progress(*columns, console=out, disable=hidden or not out.is_terminal)
