"""Whether everything is all right, from the shell."""

from contextlib import ExitStack, closing

import typer
from rich.progress import Progress
from rich.text import Text

from usersvc import logs
from usersvc.cli.opening import load_settings, name_database
from usersvc.cli.output import Json, console, print_json, print_table
from usersvc.core import build
from usersvc.errors import ChecksFailed
from usersvc.services import doctor as doctors
from usersvc.services.checks.finding import Finding, State
from usersvc.settings import Settings, SettingsError

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "dim"}


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check settings, keys, database, worker, mail, webhooks, clock and disk.

    Says what to do where something is wrong. Changes nothing, sends nothing. What is checked, and the exit
    codes: docs/operations.md#is-everything-all-right. JSON is an array of `check`, `state`, `found` and
    `remedy`.

        $ usersvc doctor
        check           state    found
        settings        ok       valid (no file; defaults and variables)
        proxies         ok       none are trusted, none are needed
        ...
        worker          failed   seen last 12 min ago: no mail goes out
                                 -> Start `usersvc serve` or `usersvc worker`; where one runs, its log says
                                 why, then restart it.
        outbox          ok       0 waiting, none overdue
        Error: 1 of 19 checks failed.
    """
    wrong: SettingsError | None = None
    settings: Settings | None
    try:
        settings = load_settings(ctx)
    except SettingsError as error:
        wrong, settings = error, error.besides
    findings = _examine(settings, wrong.mistakes if wrong else [])
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        _print(findings)
    # A check can have several findings, as the settings do.
    checks = {finding.check for finding in findings}
    failed = {finding.check for finding in findings if finding.state is State.FAILED}
    if wrong:
        if others := len(failed - {"settings"}):
            typer.echo(f"{others} of the other {len(checks) - 1} checks failed too.", err=True)
        raise wrong
    if failed:
        raise ChecksFailed(f"{len(failed)} of {len(checks)} checks failed.")


def _examine(settings: Settings | None, mistakes: list[str]) -> list[Finding]:
    from usersvc.jobs import queue_check

    logs.configure(level="error", form=settings.log.format if settings else "auto")
    err = console(err=True)
    with ExitStack() as stack:
        core = stack.enter_context(closing(build(settings))) if settings else None
        if core:
            name_database(core)
        bar = stack.enter_context(Progress(console=err, transient=True, disable=not err.is_terminal))
        bar.add_task("Looking", total=None)
        return list(doctors.examine(core, mistakes=mistakes, queue=queue_check.look))


def _print(findings: list[Finding]) -> None:
    """The remedy on a line of its own, so that both can be read on a narrow terminal."""
    rows: list[tuple[str, str | Text, str]] = []
    for finding in findings:
        rows.append((finding.check, Text(finding.state, style=_STYLES[finding.state]), finding.found))
        if finding.remedy:
            rows.append(("", "", f"-> {finding.remedy}"))
    print_table(["check", "state", "found"], rows)
