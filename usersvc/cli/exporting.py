"""Accounts into a file, from the shell."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.choosing import Chosen, accounts_in_words, choosing
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_json
from usersvc.cli.progress import progress_of
from usersvc.cli.stopping import say_stopped, stopped_between_steps
from usersvc.files import written_whole
from usersvc.services import exporting


class Form(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


_BY_ENDING = {".csv": Form.CSV, ".jsonl": Form.JSONL, ".ndjson": Form.JSONL}
_STDOUT = "-"
File = Annotated[
    str, typer.Argument(metavar="FILE", help="A new file, .csv or .jsonl; - is standard output.")
]
_FORMAT = typer.Option("--format", help="Else by the ending of the file; jsonl on standard output.")
_HASHES = typer.Option("--with-hashes", help="With password hashes, after a question.")
_YES = typer.Option("--yes", "-y", help="Do not ask: replace the file, hand out hashes.")


@choosing
def export_users(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    chosen: Chosen,
    file: File = _STDOUT,
    form: Annotated[Form | None, _FORMAT] = None,
    with_hashes: Annotated[bool, _HASHES] = False,
    yes: Annotated[bool, _YES] = False,
    as_json: Json = False,
) -> None:
    """Write accounts into a file, or to standard output.

    A file that its owner alone can read is there, whole and on the disk, or not at all. The options choose
    which accounts; without any, everybody. Without `--with-hashes` no password is in it in any form. What
    stands in it, and what the hashes are good for: docs/operations.md#taking-users-out. `--json`
    tells of a FILE what was written; else what is said goes to stderr.

        $ usersvc export-users users.csv --status active
        Exported 1,204 accounts to users.csv.
    """
    chosen.require_no_empty_query()
    path = None if file == _STDOUT else _ordinary(file)
    if as_json and path is None:
        raise typer.BadParameter("--json tells of a FILE; standard output has the accounts.")
    form = form or _form_of(path)
    with opened(ctx, patient=True) as core:
        filters = chosen.filters(core)
        total = exporting.count(core, filters=filters, actor=operator())
        over = path is not None and path.exists()
        if over and not yes:
            require_yes(f"{file} is there already: replace it?", err=True)
        if with_hashes:
            _warn(total, yes=yes)
        with _written(path, over=over) as out:
            pieces = exporting.export(
                core, filters=filters, form=form.value, with_hashes=with_hashes, actor=operator()
            )
            exported = _write(out, pieces, total)
    if as_json:
        print_json({"file": file, "format": form, "accounts": exported, "with_hashes": with_hashes})
    else:
        typer.echo(f"Exported {accounts_in_words(exported)}{f' to {file}' if path else ''}.", err=True)


def _ordinary(file: str) -> Path:
    """Where the file is, or will be: behind a link, what that names."""
    path = Path(file).resolve()
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{file} is no ordinary file: take - and redirect.")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent}.")
    return path


def _form_of(path: Path | None) -> Form:
    if path is None:
        return Form.JSONL
    if path.suffix.lower() not in _BY_ENDING:
        raise typer.BadParameter(f"{path.name} does not end in .csv or .jsonl: add --format.")
    return _BY_ENDING[path.suffix.lower()]


def _warn(total: int, *, yes: bool) -> None:
    typer.echo(
        "Warning: whoever gets password hashes can guess at the passwords, as often and as fast as he likes.",
        err=True,
    )
    if not yes:
        require_yes(f"Hand out the password hashes of {accounts_in_words(total)}?", err=True)


@contextmanager
def _written(path: Path | None, *, over: bool) -> Iterator[BinaryIO]:
    if path is None:
        yield typer.get_binary_stream("stdout")
        return
    try:
        with written_whole(path, over=over) as out:
            yield out
    except FileExistsError:
        raise typer.BadParameter(f"{path} was made by somebody else meanwhile.") from None


def _write(out: BinaryIO, pieces: Iterable[exporting.Piece], total: int) -> int:
    """How many accounts those were."""
    written = 0
    with stopped_between_steps() as stop, progress_of("accounts", hidden=out.isatty()) as bar:
        task = bar.add_task("Exporting", total=total)
        for piece in pieces:
            out.write(piece.data)
            written += piece.accounts
            bar.advance(task, piece.accounts)
            if stop.asked:
                break
        out.flush()
    if stop.asked and written < total:
        say_stopped(f"after {accounts_in_words(written)} of {total:,}.")
    return written
