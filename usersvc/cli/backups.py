"""Backups from the shell."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from usersvc import logs
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import core_on, load_settings, name_database, operator
from usersvc.cli.output import Json, console, print_json, print_table, shown
from usersvc.clock import Clock
from usersvc.core import Core
from usersvc.errors import BackupUnfit
from usersvc.services import backups, restoring

File = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The backup.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Erased = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Erase these accounts again too: ids, a line each, as `usersvc erasures` prints them.",
    ),
]


def backup(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; a file beside it is renamed to it.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Take the place of an older backup, once the new one is complete.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the database to a file, while everything runs. The secret key is not in it."""
    if str(file) == "-":
        raise typer.BadParameter("A backup is a file with a name: it does not go through a pipe.")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {file.parent}.")
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings.on_database(settings.database.url)) as core:
        name_database(core)
        made = _backup(core, file, force)
    if as_json:
        print_json({"file": str(made.path), "bytes": made.bytes, "made_at": made.at, "audited": made.is_told})
    else:
        typer.echo(f"{made.path}: {made.bytes:,} bytes, with all that was acknowledged by {shown(made.at)}.")
    if not made.is_told:
        typer.echo(
            "The audit has no entry of it: the database takes no writes, or has an older schema.", err=True
        )


def _backup(core: Core, file: Path, force: bool) -> backups.Made:
    out = console(err=True)
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("Copying", total=None)
        return backups.make(
            core,
            path=file,
            replace=force,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
            actor=operator(),
        )


def verify_backup(ctx: typer.Context, file: File, as_json: Json = False) -> None:
    """Read a backup from end to end, and tell what is in it and whether it can be restored."""
    settings = load_settings(ctx)
    found = backups.verify(settings, path=file, at=Clock().now())
    if as_json:
        print_json({**vars(found), "age": found.age and int(found.age.total_seconds())})
    else:
        _print_verified(found)
    if found.problems:
        raise BackupUnfit(f"{file} cannot be relied on: {'; '.join(found.problems)}.")


def _print_verified(found: backups.Verified) -> None:
    untried = "not tried" if found.problems else "not tried: there is none here"
    secret = {True: "the one here", False: "not the one here", None: untried}
    print_table(
        ["what", "found"],
        [
            ["kind", found.kind],
            ["made at", f"{shown(found.made_at)} ({_age(found.age)})" if found.age else "unknown"],
            ["schema", found.revision or "none"],
            ["secret key", secret[found.secret_fits]],
            *[[f"rows of {name}", f"{rows:,}"] for name, rows in found.rows.items()],
        ],
    )


def _age(age: timedelta) -> str:
    return f"{age.days} days ago" if age.days > 1 else f"{age.total_seconds() / 3600:.1f} hours ago"


def restore(
    ctx: typer.Context, file: File, erased: Erased = None, yes: Yes = False, as_json: Json = False
) -> None:
    """Put a backup in the place of the database, and end what it would revive, as after-restore does.

    Stop every serve and worker before. What was in place is kept beside it.
    """
    again = _ids(erased)
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings.on_database(settings.database.url)) as core:
        name_database(core)
        plan = restoring.plan(core, path=file, actor=operator())
        _print_plan(plan, err=as_json)
        if not yes:
            require_yes("Replace the database by the backup?", err=True)
        done = restoring.restore(core, plan=plan, erased=again, actor=operator())
    _print_done(done, as_json=as_json)


def after_restore(ctx: typer.Context, erased: Erased = None, yes: Yes = False, as_json: Json = False) -> None:
    """End what a database revives that was restored by other means: sessions, links, keys, mails.

    Run it before anything serves from the database. Safe to repeat.
    """
    again = _ids(erased)
    settings = load_settings(ctx)
    logs.configure(level="warning", form=settings.log.format)
    with core_on(settings.on_database(settings.database.url)) as core:
        name_database(core)
        typer.echo(
            "What was revoked since the database was of this state is good again, and is not known here.",
            err=True,
        )
        if not yes:
            question = "End all sessions and links, make new keys, and hold back all mail that is due?"
            require_yes(question, err=True)
        done = restoring.after_restore(core, erased=again, actor=operator())
    _print_done(done, as_json=as_json)


def _ids(path: Path | None) -> list[UUID]:
    """The first word of each line below the heading; what follows it, such as a time, is for people."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.split()[0] == "id"):
            continue
        try:
            found.append(UUID(line.split()[0]))
        except ValueError:
            raise typer.BadParameter(f"{path}, line {number}: this is no id.") from None
    return found


def _print_plan(plan: restoring.Plan, *, err: bool) -> None:
    typer.echo(
        f"Backup of {shown(plan.contents.made_at)}: {plan.contents.rows.get('users', 0):,} accounts.",
        err=True,
    )
    lost = plan.losses
    if lost.unknown:
        typer.echo(f"What will be lost cannot be told: {lost.unknown}", err=True)
    if lost.entries:
        counted = [[action, str(count)] for action, count in sorted(lost.entries.items())]
        print_table(["lost since", "times"], counted, err=err)
    if lost.revocations:
        typer.echo("These were changed or revoked since, and will be as before. Do it again:", err=True)
        rows = [
            [shown(entry.at), entry.action, str(entry.target_id or ""), _detail(entry.detail)]
            for entry in lost.revocations
        ]
        print_table(["at", "action", "target", "detail"], rows, err=err)
    if lost.erased:
        how_many = "1 account was" if len(lost.erased) == 1 else f"{len(lost.erased):,} accounts were"
        typer.echo(f"{how_many} erased; who is in the backup is erased again.", err=True)


def _detail(detail: dict[str, object]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in detail.items())


def _print_done(done: restoring.Restored, *, as_json: bool) -> None:
    ended = done.ended
    if as_json:
        print_json({**vars(done), "ended": vars(ended), "last_admins": list(done.last_admins)})
    else:
        typer.echo(f"Ended: {ended.sessions:,} sessions, {ended.links:,} links. New keys: {done.keys}.")
        held = f"{ended.mails:,} mails, {ended.deliveries:,} calls to webhooks"
        typer.echo(f"Held back: {held}. Erased again: {done.erased}.")
    if ended.mails:
        typer.echo("See them with `usersvc outbox --status dead`; `usersvc retry-mail` sends one.", err=True)
    for user_id in done.last_admins:
        typer.echo(f"{user_id} is the last administrator: make another one, then erase this one.", err=True)
    if done.kept:
        typer.echo(f"What was in place before is {done.kept}: delete it once you are sure.", err=True)
    typer.echo("Everybody logs in anew, with the password of the backup.", err=True)
