"""Changes of address from the shell."""

from typing import Annotated

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done
from usersvc.cli.users import document
from usersvc.services import accounts
from usersvc.services import email_change as changes


def change_email(
    ctx: typer.Context,
    user: Who,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The new address.")],
    verified: Annotated[
        bool,
        typer.Option(
            "--verified", help="Change it at once, for when you know that the mailbox is the user's."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Change a user's address, once a mailed link is opened there.

    The old address is told, with a way back for a week.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if verified:
            changed = changes.set_for(core, user_id=account.id, email=address, actor=operator())
            done = f"{account.email} is {changed.email} now, and logged out everywhere."
        else:
            changes.ask_for(core, user_id=account.id, email=address, actor=operator())
            mailed = f"A worker mails the link to {address} within a minute"
            done = f"{mailed}; {account.email} stays until it is opened."
        now = document(core, account.id) if as_json else None
    print_done(now, done)
