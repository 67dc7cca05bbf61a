"""Members of groups, from the shell."""

from typing import Annotated

import typer

from usersvc.cli.groups import GroupName
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Who
from usersvc.services import accounts, groups, memberships


def add_member(
    ctx: typer.Context,
    group: GroupName,
    user: Who,
    manager: Annotated[
        bool, typer.Option("--manager", help="Let the account add and remove other members.")
    ] = False,
) -> None:
    """Make an account a member of a group; its next token has what the group permits.

    An active or invited account. Without `--manager`, one that managed the group is an ordinary member
    afterwards.

        $ usersvc add-member order-desk ada@example.org
        ada@example.org is a member of order-desk now.
    """
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        account = accounts.find(core, name=user, actor=operator())
        memberships.add(core, group_id=found.id, user_id=account.id, manager=manager, actor=operator())
    typer.echo(f"{account.email} {'manages' if manager else 'is a member of'} {found.name} now.")


def remove_member(ctx: typer.Context, group: GroupName, user: Who) -> None:
    """Take an account out of a group; its next token does not have what the group permits.

    $ usersvc remove-member order-desk ada@example.org
    ada@example.org is out of order-desk.
    """
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        account = accounts.find(core, name=user, actor=operator())
        was_in = memberships.remove(core, group_id=found.id, user_id=account.id, actor=operator())
    typer.echo(f"{account.email} {'is out of' if was_in else 'was not in'} {found.name}.")
