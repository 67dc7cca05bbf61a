"""The users as a list, in the shell."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from usersvc.cli.admin import Role
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_json_list, print_table, shown
from usersvc.cli.users import as_dict
from usersvc.core import Core
from usersvc.services import directory
from usersvc.services.accounts import Account

_COLUMNS = ["email", "username", "role", "status", "created_at", "last_login_at"]


class Status(StrEnum):
    PENDING = "pending"
    INVITED = "invited"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"


def list_users(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    role: Annotated[Role | None, typer.Option(help="Only this role.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only this status.")] = None,
    query: Annotated[str | None, typer.Option(help="How the address or the username begins.")] = None,
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
        found = _accounts(core, q=query, role=role, status=status)
        listed = found if everybody else islice(found, limit)
        if as_json:
            print_json_list(as_dict(account) for account in listed)
        else:
            rows = [[shown(getattr(account, column)) for column in _COLUMNS] for account in listed]
            print_table(_COLUMNS, rows)
        if next(found, None):
            typer.echo("There are more: take --all, or another --limit.", err=True)


def _accounts(core: Core, **filters: Any) -> Iterator[Account]:
    """Page by page, so that a long list holds up nobody and needs little memory."""
    cursor = None
    while True:
        page = directory.list_users(core, **filters, limit=directory.MOST, cursor=cursor, actor=operator())
        yield from page.accounts
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
