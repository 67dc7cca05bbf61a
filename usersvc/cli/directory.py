"""The users as a list, in the shell."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated

import typer

from usersvc.cli.choosing import Chosen, choosing
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_json_list, print_table, shown
from usersvc.cli.users import as_dict
from usersvc.services import directory
from usersvc.services.accounts import Account

_COLUMNS = ["email", "username", "role", "status", "created_at", "last_login_at"]


@choosing
def list_users(
    ctx: typer.Context,
    chosen: Chosen,
    limit: Annotated[int, typer.Option(min=1, help="How many, the oldest first.")] = 50,
    everybody: Annotated[bool, typer.Option("--all", help="Without a limit.")] = False,
    as_json: Json = False,
) -> None:
    """List accounts.

    The oldest first, written as they are read, however many. That there are more than were shown is said on
    stderr.

        $ usersvc list-users
        email             username  role       status   created_at            last_login_at
        root@example.org            admin      active   2026-11-25 09:01:42Z
        ada@example.org   ada       moderator  invited  2026-11-25 09:01:45Z
    """
    with opened(ctx) as core:
        found = directory.each(core, filters=chosen.filters(core), actor=operator())
        print_accounts(found if everybody else islice(found, limit), as_json=as_json)
        if next(found, None):
            typer.echo("There are more: take --all, or another --limit.", err=True)


def print_accounts(found: Iterable[Account], *, as_json: bool) -> None:
    """As JSON as they come; a table has to know all of them to be set."""
    if as_json:
        print_json_list(as_dict(account) for account in found)
    else:
        rows = [[shown(getattr(account, column)) for column in _COLUMNS] for account in found]
        print_table(_COLUMNS, rows)
