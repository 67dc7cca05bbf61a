"""Questions at the terminal. Ctrl+C is an answer too: nothing is changed, and the terminal is as it was."""

import signal

import typer

from usersvc.cli import ctrl_c


def require_yes(question: str, *, err: bool = False) -> None:
    """Ends the command, with 1, where the answer is another."""
    with ctrl_c.heard_by(signal.default_int_handler):
        typer.confirm(question, abort=True, err=err)


def ask_new_password(*, err: bool = False) -> str:
    """Asked twice, never shown."""
    with ctrl_c.heard_by(signal.default_int_handler):
        password: str = typer.prompt(
            "Password", hide_input=True, confirmation_prompt="Repeat password", err=err
        )
    return password
