"""Passwords from the shell."""

from typing import Annotated

import typer

from usersvc.cli.asking import ask_password
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Who, shown
from usersvc.services import accounts, password_change, passwords


def set_password(
    ctx: typer.Context,
    user: Who,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from the first line of standard input."),
    ] = False,
    no_must_change: Annotated[
        bool, typer.Option("--no-must-change", help="Let the user in with it, and keep it.")
    ] = False,
) -> None:
    """Set a user's password, which the user has to replace before logging in. Every session ends.

    Where mail works, reset-password is better: then nobody else knows the password.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        password = ask_password(password_stdin)
        password_change.set_for(
            core, user_id=account.id, password=password, must_change=not no_must_change, actor=operator()
        )
    rest = "" if no_must_change else " It opens no session before it is replaced."
    typer.echo(f"The password of {account.email} is set.{rest}")


def reset_password(
    ctx: typer.Context,
    user: Who,
    print_link: Annotated[
        bool,
        typer.Option("--print-link", help="Print the link instead of mailing it, for when mail is down."),
    ] = False,
) -> None:
    """Mail a link that resets the password. Nobody but the owner chooses the new one."""
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if not print_link:
            passwords.mail_reset(core, user_id=account.id, actor=operator())
            typer.echo(f"A worker mails the link to {account.email} within a minute.")
            return
        link = passwords.show_reset_link(core, user_id=account.id, actor=operator())
    typer.echo(link.address)
    typer.echo(f"Works once, until {shown(link.expires_at)}; whoever has it has the account.", err=True)
