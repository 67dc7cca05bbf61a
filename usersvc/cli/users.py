"""Accounts from the shell."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer

from usersvc.cli.asking import ask_password, require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done, print_json, print_table, shown
from usersvc.core import Core
from usersvc.services import accounts, admin, first_admin, login, memberships


def create_admin(  # noqa: PLR0917 - each is an option of its own
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
    as_json: Json = False,
) -> None:
    """Make an active administrator, or promote an existing account.

    Asks twice for the password of a new account, and does not show it. An existing active account keeps its
    own. Makes the database where there is none.

        $ usersvc create-admin root@example.org --password-stdin < password.txt
        root@example.org is now an administrator.
    """
    with opened(ctx, make=True) as core:
        plan = first_admin.plan_admin(core, email=email)
        if not plan.needs_password and (username or password_stdin):
            raise typer.BadParameter(
                f"{plan.email} has an account, which keeps its password and username: "
                "leave out --username and --password-stdin."
            )
        if plan.existing and plan.existing.is_admin and plan.existing.is_active:
            before = document(core, plan.existing.id) if as_json else None
            print_done(before, f"{plan.email} is an administrator already.")
            return
        if plan.existing and not yes:
            _require_an_answer(password_stdin)
            require_yes(f"Make {plan.email} ({plan.existing.status}) an administrator?", err=as_json)
        password = ask_password(password_stdin, err=as_json) if plan.needs_password else None
        made = first_admin.create_admin(
            core, email=email, password=password, username=username, actor=operator()
        )
        now = document(core, made.id) if as_json else None
    print_done(now, f"{made.email} is now an administrator.")


def show_user(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """Show an account.

    With its profile and attributes, the groups it is in, and whether its login is locked after too many
    failures (`login_locked`).

        $ usersvc show-user ada@example.org
        field           value
        id              01a211f0-879d-77ed-b891-da682a0b2771
        email           ada@example.org
        email_verified  no
        username        ada
        role            moderator
        status          invited
        created_at      2026-11-25 09:01:45Z
        updated_at      2026-11-25 09:01:45Z
        last_login_at
        profile         {}
        attributes      {"customer":"C-1815"}
        is_admin        no
        is_active       no
        login_locked    no
        deletion_due_at
        groups          order-desk, stock
    """
    with opened(ctx) as core:
        found, groups = _whole(core, accounts.find(core, name=user, actor=operator()).id)
    if as_json:
        print_json(_parsed(found, groups))
    else:
        rows = {**found, "groups": ", ".join(groups)}
        print_table(["field", "value"], [[key, shown(value)] for key, value in rows.items()])


def document(core: Core, user_id: UUID) -> dict[str, object]:
    """The account as it stands now, with all that `show-user --json` prints."""
    return _parsed(*_whole(core, user_id))


def _whole(core: Core, user_id: UUID) -> tuple[dict[str, Any], list[str]]:
    account = admin.show(core, user_id=user_id, actor=operator())
    login_locked = login.is_locked(core, user_id=user_id, actor=operator())
    groups = [group.name for group in memberships.list_of(core, user_id=user_id, actor=operator())]
    return {**as_dict(account), "login_locked": login_locked}, groups


def _parsed(found: dict[str, Any], groups: list[str]) -> dict[str, object]:
    kept = {name: json.loads(found[name]) for name in ("profile", "attributes")}
    return {**found, "groups": groups, **kept}


def as_dict(account: accounts.Account) -> dict[str, object]:
    """The account as the API has it."""
    return {**vars(account), "is_admin": account.is_admin, "is_active": account.is_active}


def _require_an_answer(from_stdin: bool) -> None:
    """A line meant as the password must not be taken for the answer."""
    if from_stdin:
        raise typer.BadParameter("This address has an account that awaits activation: add --yes.")
