"""What an operator does to accounts: the same use cases that administrators have over HTTP."""

from enum import StrEnum
from typing import Annotated

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done
from usersvc.cli.users import document
from usersvc.locales import Locale
from usersvc.services import accounts, admin, invitations, login


class Role(StrEnum):
    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"


def invite_user(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the person.")],
    role: Annotated[Role, typer.Option(help="The role of the account.")] = Role.USER,
    username: Annotated[str | None, typer.Option(help="A username for the account.")] = None,
    locale: Annotated[Locale | None, typer.Option(help="The language of mails to this user.")] = None,
    as_json: Json = False,
) -> None:
    """Make an account for somebody and mail a link to choose its password.

    The link activates it.

        $ usersvc invite-user ada@example.org --role moderator --username ada
        A worker mails the invitation to ada@example.org within a minute.
    """
    with opened(ctx) as core:
        made = invitations.invite(
            core, email=email, role=role, username=username, locale=locale, actor=operator()
        )
        now = document(core, made.id) if as_json else None
    print_done(now, f"A worker mails the invitation to {made.email} within a minute.")


def set_role(
    ctx: typer.Context,
    user: Who,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="user, moderator or admin.")],
    as_json: Json = False,
) -> None:
    """Give an account another role.

    The last active administrator stays one.

        $ usersvc set-role ada@example.org user
        ada@example.org has the role user now.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.set_role(core, user_id=account.id, role=role, actor=operator())
        now = document(core, account.id) if as_json else None
    same = " already" if account.role == changed.role else " now"
    print_done(now, f"{changed.email} has the role {changed.role}{same}.")


def activate(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """Let an account in. One that was never active gets a link to choose a password by mail.

    $ usersvc activate ada@example.org
    ada@example.org is active now.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.activate(core, user_id=account.id, actor=operator())
        now = document(core, account.id) if as_json else None
    same = " already" if account.is_active else " now"
    print_done(now, f"{changed.email} is active{same}.")


def deactivate(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """Shut an account out: its row stays, its sessions and links end at once.

    $ usersvc deactivate ada@example.org
    ada@example.org is deactivated now.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.deactivate(core, user_id=account.id, actor=operator())
        now = document(core, account.id) if as_json else None
    same = " already" if account.status == changed.status else " now"
    print_done(now, f"{changed.email} is deactivated{same}.")


def unlock(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """Open a login that was locked after too many failures.

    The password stays. The pause of a single network ends by itself, after
    `throttle.login_longest_pause_minutes` at the latest. Where nothing is locked, nothing is done.

        $ usersvc unlock ada@example.org
        The login of ada@example.org is open now.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        was_locked = login.unlock(core, user_id=account.id, actor=operator())
        now = document(core, account.id) if as_json else None
    longest = core.settings.throttle.login_longest_pause_minutes
    print_done(
        now,
        f"The login of {account.email} is open now."
        if was_locked
        else f"The login of {account.email} is not locked. "
        f"A pause of one network after failed logins ends by itself, within {longest} minutes.",
    )
