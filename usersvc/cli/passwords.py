"""Passwords from the shell."""

from typing import Annotated

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done, shown
from usersvc.services import accounts, passwords


def reset_password(
    ctx: typer.Context,
    user: Who,
    print_link: Annotated[
        bool,
        typer.Option("--print-link", help="Print the link instead of mailing it, for when mail is down."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Mail a link that resets the password. Nobody but the owner chooses the new one.

    With `--print-link`, how long it works is said on stderr. JSON has `email`, `mailed`, `link` and
    `expires_at`, the last two with `--print-link` alone.

        $ usersvc reset-password ada@example.org
        A worker mails the link to ada@example.org within a minute.
        $ usersvc reset-password ada@example.org --print-link
        http://127.0.0.1:8000/reset-password?token=yxY-9Gp8RvU-Yebdzn5_OgeSwWmumad_u3bq8sWeUDw
        Works once, until 2026-11-25 09:32:51Z; whoever has it has the account.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if not print_link:
            passwords.mail_reset(core, user_id=account.id, actor=operator())
            mailed = {"email": account.email, "mailed": True, "link": None, "expires_at": None}
            print_done(
                mailed if as_json else None, f"A worker mails the link to {account.email} within a minute."
            )
            return
        link = passwords.show_reset_link(core, user_id=account.id, actor=operator())
    shown_link = {
        "email": account.email,
        "mailed": False,
        "link": link.address,
        "expires_at": link.expires_at,
    }
    print_done(shown_link if as_json else None, link.address)
    typer.echo(f"Works once, until {shown(link.expires_at)}; whoever has it has the account.", err=True)
