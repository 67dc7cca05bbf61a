"""How usersvc fares, to look at while it works."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.text import Text

from usersvc.cli import ctrl_c
from usersvc.cli.keyboard import Keyboard
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, console, print_json, print_table
from usersvc.cli.scraping import Serving, scrape
from usersvc.cli.status_view import panels, table_rows
from usersvc.core import Core
from usersvc.errors import DomainError
from usersvc.services import status as statuses
from usersvc.stopping import Stop, end_at_once

# How soon a key, Ctrl+C or another size of the window is noticed.
_NAP_SECONDS = 0.1


def status(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Show it once, as when it is piped.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="How often it is looked at.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Show how usersvc fares: users, activity, processes, mail, webhooks and the database.

    On a terminal it goes on until `q` or Ctrl+C. Nothing is counted beyond 100,000, which is shown as
    `100,000+`: a look costs the same however large the database is. What the API does is asked of its
    `/metrics` on this machine, at `server.port`.

        $ usersvc status --once | grep activity
        activity   logins, last minute          3
        activity   logins, last hour            210
    """
    with opened(ctx) as core:
        if as_json:
            print_json(_document(*_look(core)))
            return
        out = console()
        if not out.is_terminal:
            print_table(["of", "what", "value"], table_rows(*_look(core)))
        elif once:
            out.print(panels(*_look(core), width=out.width))
        else:
            _watch(core, out, interval)


def _look(core: Core) -> tuple[statuses.Status, Serving | None]:
    return statuses.look(core, actor=operator()), scrape(core.settings)


def _document(found: statuses.Status, serving: Serving | None) -> dict[str, Any]:
    return {
        **vars(found),
        "mails": vars(found.mails),
        "deliveries": vars(found.deliveries),
        "database": vars(found.database),
        "api": vars(serving) if serving else None,
    }


def _watch(core: Core, out: Console, interval: float) -> None:
    """Until `q` or a signal; the terminal is as it was then."""
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.hear)
    with (
        ctrl_c.heard_by(stop.hear),
        Keyboard() as keyboard,
        Live(console=out, screen=True, auto_refresh=False) as live,
        _without_cursor(out),
    ):
        stop.on_second = lambda: _break_off(live, keyboard)
        found, trouble = _look(core), ""
        while not stop.asked:
            live.update(_screen(found, out, interval, trouble), refresh=True)
            if _waited(stop, keyboard, out, interval) == "q":
                return
            try:
                found, trouble = _look(core), ""
            except DomainError as error:
                trouble = str(error)


@contextmanager
def _without_cursor(out: Console) -> Iterator[None]:
    out.control(Control.show_cursor(False))
    try:
        yield
    finally:
        out.control(Control.show_cursor(True))


def _break_off(live: Live, keyboard: Keyboard) -> None:
    """Asked twice, as while a database does not answer: at once, and the terminal is as it was."""
    live.console.control(Control.show_cursor(True))
    live.stop()
    keyboard.give_back()
    end_at_once()


def _screen(
    found: tuple[statuses.Status, Serving | None], out: Console, interval: float, trouble: str
) -> Any:
    foot = f"every {interval:g} s; q ends"
    return panels(*found, width=out.width, foot=Text(trouble, "bold red") if trouble else Text(foot, "dim"))


def _waited(stop: Stop, keyboard: Keyboard, out: Console, seconds: float) -> str:
    """For that long, or until a key is hit or the window has another size; the key."""
    until, size = time.monotonic() + seconds, out.size
    while not stop.asked and (left := until - time.monotonic()) > 0 and out.size == size:
        if key := keyboard.hit(min(left, _NAP_SECONDS)):
            return key
    return ""
