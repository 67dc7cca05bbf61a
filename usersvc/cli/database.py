"""The database from the shell."""

from typing import Annotated

import typer
from rich.progress import Progress

from usersvc import logs
from usersvc.cli.opening import core_on, load_settings, make_or_migrate, name_database, opened, operator
from usersvc.cli.output import Json, console, print_json, print_table
from usersvc.core import Core
from usersvc.services import keys, maintenance, schema


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Database")(migrate)
    app.command(rich_help_panel="Database")(purge_tokens)


def migrate(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail unless the schema is current.")
    ] = False,
) -> None:
    """Make the database, or bring its schema up to date. Safe to repeat."""
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings) as core:
        name_database(core)
        if check:
            schema.require_current(core)
            typer.echo("The schema is current.")
            return
        changed = make_or_migrate(core)
        keys.open_ring(core)
    typer.echo("The schema is current now." if changed else "The schema was current already.")


def purge_tokens(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Delete nothing; show what would be deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what expired, as the hourly job does: links, sessions, accounts never activated, sent mail."""
    with opened(ctx) as core:
        counts = maintenance.purge(core, actor=operator(), dry_run=True) if dry_run else _purge(core)
    if as_json:
        print_json(counts)
    else:
        print_table(
            ["what", "would delete" if dry_run else "deleted"],
            [[kind.replace("_", " "), str(rows)] for kind, rows in counts.items()],
        )


def _purge(core: Core) -> dict[str, int]:
    expected = maintenance.purge(core, actor=operator(), dry_run=True)
    with Progress(
        console=console(err=True), transient=True, disable=not console(err=True).is_terminal
    ) as bar:
        task = bar.add_task("Purging", total=sum(expected.values()))
        return maintenance.purge(core, actor=operator(), progress=lambda _, rows: bar.advance(task, rows))
