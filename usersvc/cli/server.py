"""`serve` and `worker`: the processes of the service. Only these two load the web stack and the queue."""

from contextlib import nullcontext
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from usersvc import configuration, logs
from usersvc.cli.invocation import Invocation
from usersvc.cli.opening import (
    core_on,
    load_settings,
    make_or_migrate,
    name_database,
    program,
    shown,
)
from usersvc.cli.output import console
from usersvc.core import Core
from usersvc.services import first_admin, keys, schema
from usersvc.services.checks.settings import lacks_proxies
from usersvc.setting_types import is_wildcard
from usersvc.settings import Settings, SettingsError
from usersvc.stopping import Stop

_log = logs.get("usersvc.server")


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of `server.host`.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, instead of `server.port`.")] = None,
    workers: Annotated[int | None, typer.Option(help="API processes, instead of `server.workers`.")] = None,
    no_worker: Annotated[
        bool,
        typer.Option(
            "--no-worker",
            help="Leave mail and jobs to `usersvc worker`, as `server.worker = false` does.",
        ),
    ] = False,
) -> None:
    """Make or migrate the database, then serve the API, with a worker inside.

    Until Ctrl+C or SIGTERM: docs/operations.md#processes, docs/operations.md#stopping-and-restarting.
    """
    # Before prometheus-client is imported, which would obey it.
    configuration.count_alone()

    from usersvc.api import server
    from usersvc.jobs.queue import make_queue
    from usersvc.jobs.worker import Worker, running

    flags = {"server.host": host, "server.port": port, "server.workers": workers}
    if no_worker:
        flags["server.worker"] = False
    settings = load_settings(ctx, flags)
    _require_the_same_links(ctx, settings)
    logs.configure(level=settings.log.level, form=settings.log.format)
    stop = Stop()
    # From now on, so that one that comes before serving began stops it as cleanly.
    stop.listen()
    with core_on(settings) as core:
        # Before anything is made: a port that is taken is the commonest mistake.
        listener = server.listen(settings)
        if not schema.wait_for_server(core, stopping=lambda: stop.asked):
            return
        make_or_migrate(core)
        keys.open_ring(core)
        inside_worker = Worker(core, make_queue(settings)) if settings.runs_worker else None
        core.doorbell = inside_worker.wake if inside_worker else server.doorbell(core)
        _tell(core)
        invocation: Invocation = ctx.obj
        with running(inside_worker) if inside_worker else nullcontext():
            server.serve(core, listener, stop, server.Child(invocation.config, flags))


def worker(
    ctx: typer.Context,
    threads: Annotated[int, typer.Option(min=1, max=32, help="Mails and jobs done at the same time.")] = 2,
) -> None:
    """Send mail and run the periodic jobs, apart from the API.

    Waits for a database that another process makes. By default a purge holds up no mail.
    """
    from usersvc.jobs.queue import make_queue
    from usersvc.jobs.worker import Worker, run_until, wait_for_database

    settings = load_settings(ctx)
    logs.configure(level=settings.log.level, form=settings.log.format)
    stop = Stop()
    stop.listen()
    with core_on(settings) as core:
        name_database(core)
        if not schema.wait_for_server(core, stopping=lambda: stop.asked):
            return
        if not wait_for_database(core, stop):
            return
        keys.open_ring(core)
        own = Worker(core, make_queue(settings), threads=threads)
        core.doorbell = own.wake
        run_until(stop, own)


def _require_the_same_links(ctx: typer.Context, settings: Settings) -> None:
    """A worker in another process cannot see the flags of this one, and would mail other links."""
    if settings.runs_worker:
        return
    of_the_worker = load_settings(ctx, quiet=True).public_url
    if settings.public_url != of_the_worker:
        raise SettingsError(
            [
                "--host, --port: `usersvc worker` cannot see them, its links would begin with "
                f"{of_the_worker}: set server.port or server.public_url in the settings instead"
            ]
        )


def _where_mail_goes(settings: Settings) -> str:
    match settings.mail.transport:
        case "smtp":
            mail = settings.mail
            return f"by SMTP to {mail.smtp_host}, port {settings.smtp_port} ({mail.smtp_security})"
        case "file":
            return f"files in {shown(settings.mail_dir)}/"
        case "console":
            return "console"


def _tell(core: Core) -> None:
    """What serves where, and what is missing: for people a panel, among JSON lines one more."""
    facts, admin_command = _facts(core), f"{program()} create-admin"
    lacks_admin = not first_admin.there_is_an_admin(core)
    if not logs.is_console(core.settings.log.format):
        keys_of_line = {name.lower().replace(" ", "_"): value for name, value in facts.items()}
        _log.info("serving", **keys_of_line, next=admin_command if lacks_admin else None)
        return
    if lacks_admin:
        facts["Next"] = f"{admin_command} YOU@EXAMPLE.ORG  (another terminal)"
    _print_banner({**facts, "Stop": "Ctrl+C"})


def _facts(core: Core) -> dict[str, str]:
    """None is named after links: the log would mask it."""
    settings = core.settings
    facts = {"API": f"{settings.public_url}/api/v1"}
    if settings.server.docs:
        facts["Try it"] = f"{settings.public_url}/docs"
    path = core.database.path
    facts["Database"] = shown(path) if path else core.database.address
    if is_wildcard(settings.server.host) and not settings.server.public_url:
        facts["URL"] = f"links begin with {settings.public_url}: set server.public_url for other machines"
    if lacks_proxies(settings):
        facts["Proxy"] = "set server.trusted_proxies, or the limits count all clients as one"
    facts["Mail"] = _where_mail_goes(settings)
    if not settings.runs_worker:
        facts["Worker"] = f"none inside: run `{program()} worker`, or no mail goes out"
    return facts


def _print_banner(rows: dict[str, str]) -> None:
    out = console(err=True)
    if not out.is_terminal:
        for name, value in rows.items():
            out.print(f"{name:<10}{value}", markup=False)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    out.print(Panel(table, title="usersvc", title_align="left", expand=False))
