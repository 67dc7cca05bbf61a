"""Members of groups, from the shell."""

from typing import Annotated

import typer

from usersvc.cli.groups import GroupName
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done
from usersvc.services import accounts, groups, memberships
from usersvc.services.accounts import Account
from usersvc.services.groups import GroupView


def add_member(
    ctx: typer.Context,
    group: GroupName,
    user: Who,
    manager: Annotated[
        bool, typer.Option("--manager", help="Let the account add and remove other members.")
    ] = False,
    as_json: Json = False,
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
    print_done(
        _document(found, account, member=True, manager=manager) if as_json else None,
        f"{account.email} {'manages' if manager else 'is a member of'} {found.name} now.",
    )


def remove_member(ctx: typer.Context, group: GroupName, user: Who, as_json: Json = False) -> None:
    """Take an account out of a group; its next token does not have what the group permits.

    $ usersvc remove-member order-desk ada@example.org
    ada@example.org is out of order-desk.
    """
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        account = accounts.find(core, name=user, actor=operator())
        was_in = memberships.remove(core, group_id=found.id, user_id=account.id, actor=operator())
    print_done(
        _document(found, account, member=False, manager=False) if as_json else None,
        f"{account.email} {'is out of' if was_in else 'was not in'} {found.name}.",
    )


def _document(group: GroupView, account: Account, *, member: bool, manager: bool) -> dict[str, object]:
    """What the account is to the group now."""
    whom = {"user_id": account.id, "email": account.email}
    return {"group": group.name, **whom, "member": member, "manager": manager}
