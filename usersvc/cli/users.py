"""Accounts from the shell."""

import json
from typing import Annotated

import typer

from usersvc.cli.asking import ask_password, require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_json, print_table, shown
from usersvc.services import accounts, admin, first_admin, login, memberships


def create_admin(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the administrator.")],
    username: Annotated[str | None, typer.Option(help="A username for a new account.")] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from the first line of standard input."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Promote an existing account without asking.")
    ] = False,
) -> None:
    """Make an active administrator, or promote an existing account.

    Asks for the password of a new account. An existing active account keeps its own.
    """
    with opened(ctx, make=True) as core:
        plan = first_admin.plan_admin(core, email=email)
        if not plan.needs_password and (username or password_stdin):
            raise typer.BadParameter(
                f"{plan.email} has an account, which keeps its password and username: "
                "leave out --username and --password-stdin."
            )
        if plan.existing and plan.existing.is_admin and plan.existing.is_active:
            typer.echo(f"{plan.email} is an administrator already.")
            return
        if plan.existing and not yes:
            _require_an_answer(password_stdin)
            require_yes(f"Make {plan.email} ({plan.existing.status}) an administrator?")
        password = ask_password(password_stdin) if plan.needs_password else None
        made = first_admin.create_admin(
            core, email=email, password=password, username=username, actor=operator()
        )
    typer.echo(f"{made.email} is now an administrator.")


def show_user(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """Show an account."""
    with opened(ctx) as core:
        user_id = accounts.find(core, name=user, actor=operator()).id
        account = admin.show(core, user_id=user_id, actor=operator())
        login_locked = login.is_locked(core, user_id=user_id, actor=operator())
        groups = [group.name for group in memberships.list_of(core, user_id=user_id, actor=operator())]
    found = {**as_dict(account), "login_locked": login_locked}
    if as_json:
        kept = {"profile": json.loads(account.profile), "attributes": json.loads(account.attributes)}
        print_json({**found, "groups": groups, **kept})
    else:
        rows = {**found, "groups": ", ".join(groups)}
        print_table(["field", "value"], [[key, shown(value)] for key, value in rows.items()])


def as_dict(account: accounts.Account) -> dict[str, object]:
    """The account as the API has it."""
    return {**vars(account), "is_admin": account.is_admin, "is_active": account.is_active}


def _require_an_answer(from_stdin: bool) -> None:
    """A line meant as the password must not be taken for the answer."""
    if from_stdin:
        raise typer.BadParameter("This address has an account that awaits activation: add --yes.")
