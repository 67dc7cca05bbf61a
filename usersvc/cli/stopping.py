"""Ctrl+C during work of many steps: the step in hand is finished, then the command says how far it came."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from usersvc.cli import ctrl_c
from usersvc.stopping import Stop

STOPPED = 130  # as a shell says of a program that Ctrl+C ended


@contextmanager
def stopped_between_steps() -> Iterator[Stop]:
    """Ask `asked` between two steps; a second Ctrl+C ends the command at once. Main thread only."""
    stop = Stop()
    stop.on_second = _end_at_once
    with ctrl_c.heard_by(stop.hear):
        yield stop


def say_stopped(how_far: str) -> NoReturn:
    typer.echo(f"Stopped by Ctrl+C {how_far}", err=True)
    raise typer.Exit(STOPPED)


def _end_at_once() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
