"""Users of other programs brought in from a file, with a bar, a report and a summary."""

import csv
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, console, print_json, print_table
from usersvc.core import Core
from usersvc.services import importing

# Of lines that were refused, or the terminal would show nothing else.
_MOST_REASONS = 30
_REFUSED = 3
_HEADER = ("line", "field", "reason")
_HEADER_LINE = ",".join(_HEADER).encode()

Products = Literal["usersvc", "auth0", "firebase", "supabase", "keycloak", "django", "cognito"]
Field = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="FIELD=NAME",
        help="Take FIELD from NAME in the file, as in attributes.customer=sub; FIELD= leaves it out.",
    ),
]


def import_users(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, JSON Lines or JSON; - is standard input.")
    ],
    *,
    product: Annotated[Products, typer.Option("--from", help="Whose form the file has.")] = "usersvc",
    on_conflict: Annotated[
        importing.OnConflict, typer.Option(help="What to do where an address has an account already.")
    ] = "skip",
    field: Field = None,
    hash_config: Annotated[
        Path | None,
        typer.Option(help="File with the hash parameters of a Firebase project, as its console shows them."),
    ] = None,
    trust_addresses: Annotated[
        bool, typer.Option("--trust-addresses", help="Take every address for verified.")
    ] = False,
    replace_passwords: Annotated[
        bool,
        typer.Option(
            "--replace-passwords", help="With --on-conflict update: replace passwords, which ends sessions."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Keep nothing; say what would happen.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write each refused line into this CSV: line, field, reason.")
    ] = None,
    resume_as: Annotated[
        str | None, typer.Option(metavar="NAME", help="A name by which an import from a pipe can go on.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew, also where it was finished or broken off.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring users in from a file, with the password hashes of another program.

    Fails with 3 where lines were refused; the others are in. One that was broken off goes on where it was
    when the same command is called again.
    """
    if replace_passwords and on_conflict != "update":
        raise typer.BadParameter("--replace-passwords is of use with --on-conflict update alone.")
    if hash_config and product != "firebase":
        raise typer.BadParameter("--hash-config is of use with --from firebase alone.")
    _check_report(report)
    options = importing.Options(
        product=product,
        on_conflict=on_conflict,
        fields=_fields(field or []),
        parameters=_parameters(hash_config),
        trust_addresses=trust_addresses,
        replace_passwords=replace_passwords,
    )
    with _opened_file(file) as (source, size), opened(ctx) as core:
        digest = _digest(source, options, size=size, name=resume_as)
        plan = importing.plan(core, digest=digest, options=options, actor=operator(), again=again)
        if plan.finished_at:
            _say_finished(plan, as_json=as_json)
            return
        if plan.progress.records:
            typer.echo(
                f"It was broken off after {plan.progress.records:,} users, and goes on there.", err=True
            )
        with _Report(report, after=plan.progress.line) as refused:
            done = _run(core, importing.Counted(source), size, plan, refused, dry_run=dry_run)
    _summarise(done, refused, plan, dry_run=dry_run, as_json=as_json)
    if done.refused:
        raise typer.Exit(_REFUSED)


def _fields(given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in given]
    if any(not middle for _, middle, _ in pairs):
        raise typer.BadParameter("--field is written FIELD=NAME.")
    return tuple(sorted((target.strip(), source.strip()) for target, _, source in pairs))


def _parameters(path: Path | None) -> importing.HashParameters | None:
    if path is None:
        return None
    try:
        return importing.HashParameters.parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error}.") from None


def _check_report(path: Path | None) -> None:
    """A report takes the place of a report, and of no other file: of the users themselves, for instance."""
    if path is None or not path.is_file():
        return
    with path.open("rb") as file:
        begins = file.readline(len(_HEADER_LINE)).rstrip()
    if begins not in (b"", _HEADER_LINE):
        raise typer.BadParameter(f"{path} is there already, and no report: name another file for --report.")


@contextmanager
def _opened_file(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """With its size; None for what can be read but once."""
    if name == "-":
        if sys.stdin is None:
            raise typer.BadParameter("Standard input is closed.")
        yield sys.stdin.buffer, None
        return
    with Path(name).open("rb") as file:
        found = os.fstat(file.fileno())
        yield file, found.st_size if stat.S_ISREG(found.st_mode) else None


def _digest(
    source: BinaryIO, options: importing.Options, *, size: int | None, name: str | None
) -> bytes | None:
    if name is not None:
        return importing.digest_of_name(name, options)
    if size is None:
        return None
    digest = importing.digest_of(source, options)
    source.seek(0)
    return digest


class _Report:
    """Refused lines, as CSV where a file is named; how often each reason came, in any case."""

    def __init__(self, path: Path | None, *, after: int) -> None:
        self.reasons: Counter[tuple[str, str]] = Counter()
        self._path = path
        self._after = after
        self._file: Any = None
        self._settled = 0
        self._heard: Sequence[importing.Refusal] = ()

    def __enter__(self) -> "_Report":
        if self._path:
            kept = list(self._kept()) if self._after and self._path.exists() else []
            self._file = self._path.open("wb")
            self._write([_HEADER, *kept])
            self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def hear(self, refusals: Sequence[importing.Refusal]) -> None:
        """Of one batch. What was heard and not settled is forgotten: the batch is tried again."""
        if self._file:
            self._file.seek(self._settled)
            self._file.truncate()
            self._write(refusals)
        self._heard = refusals

    def settle(self) -> None:
        self.reasons.update((one.field, one.reason) for one in self._heard)
        self._heard = ()
        if self._file:
            self._settled = self._file.tell()

    def _kept(self) -> Iterator[list[str]]:
        """What the import wrote there before it was broken off."""
        assert self._path
        with self._path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if row and row[0].isdigit() and int(row[0]) <= self._after:
                    yield row

    def _write(self, rows: Sequence[Any]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())
        self._file.flush()


class _Rate(ProgressColumn):
    def __init__(self, before: int) -> None:
        super().__init__()
        self._before = before

    def render(self, task: Task) -> Text:
        done, seconds = task.fields["records"] - self._before, task.elapsed or 0
        return Text(
            f"{task.fields['records']:,} users, {done / seconds:,.0f}/s" if seconds and done > 0 else ""
        )


def _run(
    core: Core,
    source: importing.Counted,
    size: int | None,
    plan: importing.Plan,
    refused: _Report,
    *,
    dry_run: bool,
) -> importing.Progress:
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        _Rate(plan.progress.records),
        TimeRemainingColumn(),
    ]
    out = console(err=True)
    with Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("Checking" if dry_run else "Importing", total=size, records=plan.progress.records)

        def settled(progress: importing.Progress) -> None:
            refused.settle()
            bar.update(task, completed=source.bytes_read, records=progress.records)

        return importing.run(
            core,
            source,
            plan=plan,
            actor=operator(),
            dry_run=dry_run,
            hear=refused.hear,
            settled=settled,
        )


def _as_dict(progress: importing.Progress) -> dict[str, object]:
    names = ("records", "imported", "updated", "skipped", "refused", "started_at", "finished_at")
    return {name: getattr(progress, name) for name in names}


def _say_finished(plan: importing.Plan, *, as_json: bool) -> None:
    """Nothing is done: whoever was changed or deleted since is not brought back."""
    if as_json:
        print_json({**_as_dict(plan.progress), "dry_run": False, "done_before": plan.progress.records})
    typer.echo(f"This was finished at {plan.finished_at:%Y-%m-%d %H:%M}Z; --again does it anew.", err=True)


def _summarise(
    done: importing.Progress, refused: _Report, plan: importing.Plan, *, dry_run: bool, as_json: bool
) -> None:
    counts = {**_as_dict(done), "dry_run": dry_run, "done_before": plan.progress.records}
    reasons = refused.reasons.most_common(_MOST_REASONS)
    if as_json:
        told = [{"field": field, "reason": reason, "lines": lines} for (field, reason), lines in reasons]
        print_json({**counts, "reasons": told})
        return
    names = ("imported", "updated", "skipped", "refused")
    print_table(
        ["would be" if dry_run else "users", "number"], [[name, f"{counts[name]:,}"] for name in names]
    )
    if reasons:
        typer.echo("")
        print_table(
            ["refused", "field", "reason"],
            [[f"{lines:,}", field, reason] for (field, reason), lines in reasons],
        )
