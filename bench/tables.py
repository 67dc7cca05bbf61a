"""What was found, for people: on the terminal, and in docs/performance.md."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.records import Record
from bench.spread import Spread
from bench.targets import TARGETS, Target

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def show(records: Sequence[Record], console: Console) -> None:
    for record in records:
        figures = Table(title=record.finding.title, title_justify="left", caption_justify="left")
        figures.add_column("")
        figures.add_column(record.finding.unit, justify="right")
        figures.add_column("lowest to highest", justify="right")
        for name, found in record.finding.figures.items():
            figures.add_row(name, number(found.median), spread(found))
        console.print(figures)
        for note in record.finding.notes:
            console.print(f"  {note}", highlight=False)
        for name, version in record.finding.versions.items():
            console.print(f"  {name}: {version}", style="dim", highlight=False)
    reached = Table(title="Targets", title_justify="left")
    for name in ("", "target", "reached", "lowest to highest"):
        reached.add_column(name)
    for target, found in decided(records):
        style = "green" if target.is_met_by(found.median) else "red"
        what = target.what.replace("`", "")
        reached.add_row(what, target.shown, _with_unit(target, found), spread(found), style=style)
    console.print(reached)


def decided(records: Sequence[Record]) -> list[tuple[Target, Spread]]:
    """The targets, in their order, that these records say something of."""
    found = {key: spread for record in records for key, spread in record.finding.reached.items()}
    return [(target, found[target.key]) for target in TARGETS if target.key in found]


def document(records: Sequence[Record], page: Path, charts: dict[str, Path]) -> None:
    """Replace what stands between the markers of the page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}")
    told = "\n\n".join(_parts(records, page, charts))
    page.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")


def _parts(records: Sequence[Record], page: Path, charts: dict[str, Path]) -> list[str]:
    rows = ["| what | target | reached | lowest to highest | |", "| --- | --- | --- | --- | --- |"]
    for target, found in decided(records):
        met = "" if target.is_met_by(found.median) else "missed"
        rows.append(
            f"| {target.what} | {target.shown} | {_with_unit(target, found)} | {spread(found)} | {met} |"
        )
    parts = ["\n".join(rows)]
    for record in records:
        parts += [f"### {record.finding.title}", _figures(record)]
        if record.question in charts:
            place = charts[record.question].relative_to(page.parent)
            parts.append(f"![{record.finding.title.replace('`', '')}]({place.as_posix()})")
        told = [*record.finding.notes, *(f"{name}: {of}" for name, of in record.finding.versions.items())]
        parts.append("\n".join(f"- {line}" for line in [*told, _circumstances(record)]))
    return parts


def _figures(record: Record) -> str:
    rows = [f"| | {record.finding.unit} | lowest to highest |", "| --- | --- | --- |"]
    rows += [
        f"| {name} | {number(found.median)} | {spread(found)} |"
        for name, found in record.finding.figures.items()
    ]
    return "\n".join(rows)


def _circumstances(record: Record) -> str:
    machine = record.machine
    return (
        f"{record.taken_at:%d %B %Y}: {record.rounds} rounds of {record.seconds:g} s, {machine.cores} cores "
        f"({machine.processor}), Linux {machine.system}, load {record.busy:.1f} before it began"
    )


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(found: Spread) -> str:
    return f"{number(found.low)} to {number(found.high)}" if found.rounds > 1 else "one round"


def _with_unit(target: Target, found: Spread) -> str:
    return f"{number(found.median)}{target.unit and ' ' + target.unit}"
