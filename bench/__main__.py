"""Ask the questions of docs/performance.md, all or some of them.

python -m bench --help
"""

import importlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import records, tables
from bench.charts import draw
from bench.finding import Finding, Run
from bench.targets import QUESTIONS

_DOCS = Path(__file__).parent.parent / "docs"
_CONSOLE = Console()


def main(
    questions: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {', '.join(QUESTIONS)}; all unless named.")
    ] = None,
    *,
    rounds: Annotated[int, typer.Option("--repeats", min=1, help="Rounds, in turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Of load, each time.")] = 5,
    sizes: Annotated[str, typer.Option(help="How many users.")] = "1000,100000,1000000",
    folder: Annotated[Path, typer.Option("--json", help="Where the JSON goes.")] = records.FOLDER,
    document: Annotated[
        bool, typer.Option("--document", help="Write what is there into docs/performance.md; ask no more.")
    ] = False,
) -> None:
    """Measure usersvc and its peers on this machine, which should do nothing else meanwhile."""
    # Else the servers would be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    asked = questions or ([] if document else list(QUESTIONS))
    if unknown := set(asked) - set(QUESTIONS):
        raise typer.BadParameter(f"There is no question {', '.join(sorted(unknown))}.")
    of = tuple(int(size) for size in sizes.split(","))
    found = [_ask(name, folder, rounds=rounds, seconds=seconds, sizes=of) for name in asked]
    if found:
        tables.show(found, _CONSOLE)
    if document:
        _document(folder)


def _ask(name: str, folder: Path, *, rounds: int, seconds: float, sizes: tuple[int, ...]) -> records.Record:
    _CONSOLE.print(f"{name} ...", style="dim")
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="usersvc-bench-") as place:
        run = Run(rounds, seconds, Path(place), sizes)
        finding: Finding = importlib.import_module(f"bench.questions.{name}").ask(run)
    record = records.Record.of(name, finding, run, busy=busy)
    records.save(record, folder)
    return record


def _document(folder: Path) -> None:
    found = [record for name in QUESTIONS if (record := records.saved(name, folder))]
    charts = {record.question: draw(record, _DOCS / "performance") for record in found}
    tables.document(found, _DOCS / "performance.md", charts)


if __name__ == "__main__":
    typer.run(main)
