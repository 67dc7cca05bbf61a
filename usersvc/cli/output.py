"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from usersvc import logs
from usersvc.cli import completion
from usersvc.clock import rfc_3339

_UNBROKEN = 10_000
_IDS = {"id", "credential", "kid"}
"""Columns with what is copied into the next command."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


Who = Annotated[
    str,
    typer.Argument(
        metavar="USER",
        help="E-mail address, id, or username of an activated account.",
        autocompletion=completion.users,
    ),
]


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Whatever is asked: whoever ends a progress bar by Ctrl+C would be left without one."""
        return False


NobodyOr = Annotated[
    str | None,
    typer.Argument(
        metavar="USER",
        help="E-mail address, id, or username of an activated account; or take options.",
        autocompletion=completion.users,
    ),
]


def console(*, err: bool = False) -> Console:
    """Without colour and without broken lines where the output is piped."""
    stream = sys.stderr if err else sys.stdout
    piped = not stream.isatty()
    return _Console(file=stream, highlight=False, soft_wrap=piped, width=_UNBROKEN if piped else None)


def print_done(document: Any | None, sentence: str) -> None:
    """What a command did: for people a sentence; with `--json` the thing as it stands now, in `document`."""
    if document is None:
        typer.echo(sentence)
    else:
        print_json(document)


def print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, default=_json_value))


def print_json_list(rows: Iterable[dict[str, object]]) -> None:
    """An array, a row a line, written as the rows come: a million of them need no more memory than one."""
    before = "[\n  "
    for row in rows:
        typer.echo(before + json.dumps(row, default=_json_value), nl=False)
        before = ",\n  "
    typer.echo("[]" if before.startswith("[") else "\n]")


def print_json_line(document: Any) -> None:
    """One document, one line: for what goes on without an end."""
    typer.echo(json.dumps(document, default=_json_value))


def _json_value(value: object) -> str:
    return rfc_3339(value) if isinstance(value, datetime) else str(value)


def shown(value: object) -> str:
    """A value as a table shows it; times in UTC, to the second."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}Z"
        case _:
            return str(value)


def print_table(columns: list[str], rows: Iterable[Iterable[str | Text]], *, err: bool = False) -> None:
    """Brackets in a cell, as mail servers answer them, are no markup; and no cell moves the cursor."""
    out = console(err=err)
    cells = [[cell if isinstance(cell, Text) else Text(logs.printable(cell)) for cell in row] for row in rows]
    table = _table(columns, cells)
    fits = out.width == _UNBROKEN or _narrowest(table, out) <= out.width
    if fits or _IDS.isdisjoint(columns):
        for number, column in enumerate(table.columns):
            column.no_wrap = fits and all(" " not in row[number].plain for row in cells)
        out.print(table)
        return
    # Rather a row over many lines than an id over several.
    for number, row in enumerate(cells):
        if number:
            out.print()
        names = [Text(column, style="bold") for column in columns]
        out.print(_table(None, zip(names, row, strict=True)))


def _table(columns: list[str] | None, rows: Iterable[Iterable[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=columns is not None)
    for column in columns or ("field", "value"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _narrowest(table: Table, out: Console) -> int:
    """The width in which no word is broken."""
    return Measurement.get(out, out.options.update(max_width=_UNBROKEN), table).minimum


def print_row(cells: list[str], widths: list[int]) -> None:
    """A line of a table that goes on without an end; a cell that is too long moves the others."""
    typer.echo("  ".join(map(str.ljust, map(logs.printable, cells), widths)).rstrip())
