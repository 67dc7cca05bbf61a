"""Groups from the shell: made, listed, shown, changed, deleted."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from usersvc.cli import completion
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_done, print_json, print_json_list, print_table, shown
from usersvc.core import Core
from usersvc.services import groups, memberships

GroupName = Annotated[
    str, typer.Argument(metavar="GROUP", help="Name of the group.", autocompletion=completion.groups)
]

_COLUMNS = ["name", "description", "permissions", "members"]
_OF_A_MEMBER = ["email", "username", "status", "manager", "added_at"]
_FIRST = 50


def create_group(
    ctx: typer.Context,
    group: GroupName,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    permission: Annotated[
        list[str] | None,
        typer.Option(metavar="PERMISSION", help="What it permits, like orders:write; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a group, with permissions of the services that check tokens.

    Without members. What groups are, how large they may be and what a manager may: docs/api.md#groups.

        $ usersvc create-group order-desk --permission orders:read --permission orders:write
        order-desk permits orders:read, orders:write.
    """
    with opened(ctx) as core:
        made = groups.create(
            core, name=group, description=description, permissions=permission or (), actor=operator()
        )
    print_done(vars(made) if as_json else None, _told(made))


def list_groups(ctx: typer.Context, as_json: Json = False) -> None:
    """List groups.

    By name.

        $ usersvc list-groups
        name        description  permissions                members
        order-desk               orders:read, orders:write  1
    """
    with opened(ctx) as core:
        found = _groups(core)
        if as_json:
            print_json_list(vars(group) for group in found)
        else:
            print_table(_COLUMNS, [[_cell(getattr(group, name)) for name in _COLUMNS] for group in found])


def show_group(
    ctx: typer.Context,
    group: GroupName,
    everybody: Annotated[bool, typer.Option("--all", help="All members, not the first 50.")] = False,
    as_json: Json = False,
) -> None:
    """Show a group: its permissions, and who is in it.

    The first 50 members, the oldest accounts first. That there are more is said on stderr. JSON has them as
    `member_accounts`.

        $ usersvc show-group order-desk
        field        value
        id           01a22454-94d5-7cf1-8dd7-8b1c45dcfa19
        name         order-desk
        description
        permissions  orders:read, orders:write
        members      1
        created_at   2026-11-28 22:44:12Z
        updated_at   2026-11-28 22:44:12Z

        email            username  status  manager  added_at
        ada@example.org  ada       active  no       2026-11-28 22:44:15Z
    """
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        members = list(islice(_members(core, found), None if everybody else _FIRST))
    if as_json:
        print_json({**vars(found), "member_accounts": [vars(member) for member in members]})
    else:
        print_table(["field", "value"], [[key, _cell(value)] for key, value in vars(found).items()])
        if members:
            typer.echo()
            rows = [[shown(getattr(member, name)) for name in _OF_A_MEMBER] for member in members]
            print_table(_OF_A_MEMBER, rows)
    if len(members) < found.members:
        typer.echo("There are more members: take --all.", err=True)


def change_group(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    group: GroupName,
    rename: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="PERMISSION", help="A permission more, like orders:write; may be repeated."),
    ] = None,
    withdraw: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="A permission less; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rename a group, or change what it permits.

    A service that looks at the names in the token, and not at the permissions, sees another group after it
    was renamed.

        $ usersvc change-group order-desk --grant stock:read --withdraw orders:write
        order-desk permits orders:read, stock:read.
    """
    if rename is None and description is None and not grant and not withdraw:
        raise typer.BadParameter("Say what to change: --rename, --description, --grant or --withdraw.")
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        absent = sorted(set(withdraw or ()) - set(found.permissions))
        changed = groups.change(
            core,
            group_id=found.id,
            name=rename,
            description=description,
            grant=grant or (),
            withdraw=withdraw or (),
            actor=operator(),
        )
    if absent:
        typer.echo(f"{group} did not have {', '.join(absent)}.", err=True)
    print_done(vars(changed) if as_json else None, _told(changed))


def delete_group(
    ctx: typer.Context,
    group: GroupName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a group for good; its members lose its permissions.

    With their next token. JSON shows it as it was.

        $ usersvc delete-group order-desk --yes
        Deleted order-desk, which had 1 member.
    """
    with opened(ctx) as core:
        found = groups.find(core, name=group, actor=operator())
        if not yes:
            require_yes(f"Delete {found.name}, with its {_number(found.members)}?", err=as_json)
        members = groups.delete(core, group_id=found.id, actor=operator())
    print_done(
        {**vars(found), "members": members} if as_json else None,
        f"Deleted {found.name}, which had {_number(members)}.",
    )


def _groups(core: Core) -> Iterator[groups.GroupView]:
    cursor = None
    while True:
        page = groups.list_groups(core, limit=groups.MOST, cursor=cursor, actor=operator())
        yield from page.groups
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _members(core: Core, group: groups.GroupView) -> Iterator[memberships.MemberView]:
    cursor = None
    while True:
        page = memberships.list_members(
            core, group_id=group.id, limit=memberships.MOST, cursor=cursor, actor=operator()
        )
        yield from page.members
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _told(group: groups.GroupView) -> str:
    return f"{group.name} permits {', '.join(group.permissions) or 'nothing'}."


def _number(members: int) -> str:
    return f"{members} member{'' if members == 1 else 's'}"


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else shown(value)
