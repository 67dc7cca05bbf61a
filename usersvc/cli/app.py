"""The commands put together, and the one place that turns a fact into an exit code."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from usersvc import __version__
from usersvc.cli import completion
from usersvc.cli.commands import COMMANDS, in_brief, load
from usersvc.cli.headings import BoldHeadings
from usersvc.cli.invocation import Invocation
from usersvc.errors import DomainError, Kind, Misconfigured

EXIT = {
    Kind.INVALID: 3,
    Kind.UNAUTHENTICATED: 4,
    Kind.FORBIDDEN: 4,
    Kind.NOT_FOUND: 5,
    Kind.CONFLICT: 6,
    Kind.THROTTLED: 7,
    Kind.UNAVAILABLE: 8,
}
WRONG_SETTING = 78  # EX_CONFIG of sysexits.h


CLOSED_PIPE = 141  # as a shell says of a program that SIGPIPE ended


class _Commands(BoldHeadings, TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for listed in COMMANDS:
            self.add_command(in_brief(listed))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(listed.name) for listed in COMMANDS)
        for section, commands in groupby(COMMANDS, key=attrgetter("section")):
            with formatter.section(section):
                formatter.write_dl([(command.name.ljust(width), command.help) for command in commands])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _quiet_on_a_closed_pipe():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _quiet_on_a_closed_pipe():
            return self._invoke(ctx)

    def _invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # Pydantic's, which says nothing.
            raise
        except Misconfigured as error:
            typer.echo(error.many if len(error.mistakes) > 1 else error.one, err=True)
            for mistake in error.mistakes:
                typer.echo(f"  {mistake}", err=True)
            raise typer.Exit(WRONG_SETTING) from None
        except DomainError as error:
            parts = "".join(f" {field}: {message}" for field, message in error.fields)
            typer.echo(f"Error: {error}{parts}", err=True)
            raise typer.Exit(EXIT[error.kind]) from None
        except OSError as error:
            # No right to a file, a full disk: the operator's to mend, not a bug.
            typer.echo(f"Error: {error.strerror or error}: {error.filename or 'standard output'}", err=True)
            raise typer.Exit(EXIT[Kind.UNAVAILABLE]) from None


@contextmanager
def _quiet_on_a_closed_pipe() -> Iterator[None]:
    """Who reads has seen enough (`| head`): nobody is there to be told of it."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        # Rich makes an exit with 1 of it, where it prints a table.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # What is still buffered goes nowhere, or Python would complain of it at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        raise typer.Exit(CLOSED_PIPE) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"usersvc {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="usersvc",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with local variables would show passwords.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def usersvc(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings file. Else the variable USERSVC_CONFIG, else ./usersvc.toml if there is one.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Users of other programs: registration, login, sessions, passwords."""
    ctx.obj = Invocation(config)


def main() -> None:
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        # Bytes that are no text in the encoding of this system; no name or setting can be meant.
        typer.echo("Error: an argument is not text in UTF-8.", err=True)
        sys.exit(2)
    completion.mend_words()
    try:
        app()
    finally:
        # At its end Python would look for garbage in all that was loaded: a sixth of the time of a command.
        gc.freeze()
