"""The database from the shell."""

from typing import Annotated

import typer
from rich.progress import Progress

from usersvc import logs
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import (
    core_on,
    load_settings,
    make_copy_ready,
    make_or_migrate,
    name_database,
    opened,
    operator,
)
from usersvc.cli.output import Json, console, print_done, print_json, print_table
from usersvc.cli.progress import progress_of
from usersvc.core import Core
from usersvc.services import copying, keys, maintenance, schema
from usersvc.setting_types import check_database_url


def _address(text: str) -> str:
    """What is wrong with it is told without it: there may be a password inside."""
    try:
        return check_database_url(text or "none")
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


Source = Annotated[
    str, typer.Argument(metavar="FROM", parser=_address, help="Address of the database, as in database.url.")
]
Target = Annotated[
    str, typer.Argument(metavar="TO", parser=_address, help="Address of an empty one; a file is made.")
]


def migrate(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail unless the schema is current.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the database, or bring its schema up to date. Safe to repeat.

    `serve` does the same at its start. JSON has `database`, its address, and `changed`.

        $ usersvc migrate
        The schema is current now.
    """
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings) as core:
        name_database(core)
        if check:
            schema.require_current(core)
            changed, told = False, "The schema is current."
        else:
            changed = make_or_migrate(core)
            keys.open_ring(core)
            told = "The schema is current now." if changed else "The schema was current already."
        document = {"database": core.database.address, "changed": changed}
    print_done(document if as_json else None, told)


def purge_tokens(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Delete nothing; show what would be deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what expired, as the hourly job does: links, sessions, accounts never activated, sent mail.

    Deliveries that are done and retired keys too: docs/operations.md#purging.

        $ usersvc purge-tokens --dry-run
        what                would delete
        links               0
        sessions            0
        mails               0
        webhook deliveries  0
        pending accounts    0
        counters            0
        revoked tokens      0
        known networks      0
        audit entries       0
        keys                0
        mail files          0
    """
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


def copy_database(
    ctx: typer.Context,
    source: Source,
    target: Target,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Copy everything into another database: from SQLite to PostgreSQL, or back.

    Stop every serve and worker before: docs/operations.md#moving-to-postgresql goes step by step. FROM is
    only read; TO must be empty. A file is relative to the settings file. The secret key stays the same.

    A password in an address is not shown, but stands in the list of processes: leave it out, and set
    `PGPASSWORD` or a `~/.pgpass`, which PostgreSQL's library reads.

    A copy that was broken off goes on where it was when the same command runs again. Until it is complete and
    compared, every other command refuses TO (8). A TO that holds anything, a row that it cannot hold, and a
    copy that is not the same in the end are conflicts (6); a FROM of an older or newer schema is unavailable
    (8), another secret key a wrong setting (78).

    JSON has `from`, `to`, `rows`, `copied_before`, and `tables` with `name`, `rows`, `digest`.

        $ usersvc copy-database sqlite:///data/usersvc.db postgresql://usersvc@db.example.org/users
        From: /home/you/usersvc/data/usersvc.db
        To:   postgresql://usersvc@db.example.org/users
        `usersvc serve` and `usersvc worker` must be stopped: a change makes the copy fail.
        Copy 500013 rows? [y/N]: y
        table        rows    digest
        audit        300007  fa6351d6f52cc47f
        ...
        500013 rows are there, the same in both databases; the secret key opens every key.
        Now set database.url, keep the secret key, and start usersvc.
    """
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings.on_database(source)) as old, core_on(settings.on_database(target)) as new:
        typer.echo(f"From: {old.database.address}", err=True)
        typer.echo(f"To:   {new.database.address}", err=True)
        plan = copying.plan(old, new)
        _warn(plan)
        if not yes:
            require_yes(f"Copy {max(0, plan.rows - plan.done)} rows?", err=True)
        make_copy_ready(new, plan.mark)
        tables = _copy(old, new, plan)
        addresses = {"from": old.database.address, "to": new.database.address}
    rows = sum(table.rows for table in tables)
    if as_json:
        print_json({**addresses, "rows": rows, "copied_before": plan.done, "tables": list(map(vars, tables))})
        return
    print_table(
        ["table", "rows", "digest"], [[table.name, str(table.rows), table.digest[:16]] for table in tables]
    )
    typer.echo(f"{rows} rows are there, the same in both databases; the secret key opens every key.")
    typer.echo("Now set database.url, keep the secret key, and start usersvc.", err=True)


def _warn(plan: copying.Plan) -> None:
    typer.echo(
        "`usersvc serve` and `usersvc worker` must be stopped: a change makes the copy fail.", err=True
    )
    if plan.done:
        typer.echo(f"{plan.done} of {plan.rows} rows are there from a copy that was broken off.", err=True)


def _copy(old: Core, new: Core, plan: copying.Plan) -> list[copying.CopiedTable]:
    with progress_of("rows") as bar:
        copied = bar.add_task("Copying", total=plan.rows, completed=plan.done)
        compared = bar.add_task("Comparing", total=2 * plan.rows)
        return copying.copy(
            old,
            new,
            plan=plan,
            actor=operator(),
            copied=lambda rows: bar.advance(copied, rows),
            verified=lambda rows: bar.advance(compared, rows),
        )
