"""What an operator does to accounts: the same use cases that administrators have over HTTP."""

from typing import Annotated

import typer

from usersvc.cli.bulk import DryRun, Wish, Yes, change_many, require_nothing_of_many
from usersvc.cli.choices import Role
from usersvc.cli.choosing import Chosen, choosing
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, NobodyOr, Who, print_json
from usersvc.cli.users import as_dict
from usersvc.services import accounts, admin, invitations, login
from usersvc.services.bulk import Activate, Deactivate, SetRole

_ROLE = typer.Argument(metavar="ROLE", help="user, moderator or admin.")


def invite_user(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the person.")],
    role: Annotated[Role, typer.Option(help="The role of the account.")] = Role.USER,
    username: Annotated[str | None, typer.Option(help="A username for the account.")] = None,
) -> None:
    """Make an account for somebody and mail a link to choose its password."""
    with opened(ctx) as core:
        made = invitations.invite(core, email=email, role=role, username=username, actor=operator())
    typer.echo(f"A worker mails the invitation to {made.email} within a minute.")


@choosing
def set_role(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    chosen: Chosen,
    user: NobodyOr = None,
    role: Annotated[str | None, _ROLE] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give an account another role, or many that options choose."""
    # Without a USER the first argument is the ROLE.
    user, wanted = (user, _role(role)) if role is not None else (None, _role(user))
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, SetRole(wanted), wish, doing=f"Give {{}} the role {wanted}")
        return
    require_nothing_of_many(wish)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.set_role(core, user_id=account.id, role=wanted, actor=operator())
    same = " already" if account.role == changed.role else " now"
    _tell(changed, f"{changed.email} has the role {changed.role}{same}.", as_json)


def _role(text: str | None) -> Role:
    try:
        return Role(text or "")
    except ValueError:
        raise typer.BadParameter("ROLE is user, moderator or admin.") from None


@choosing
def activate(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    chosen: Chosen,
    user: NobodyOr = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let an account in, or many that options choose.

    One that was never active gets a link to choose a password by mail.
    """
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, Activate(), wish, doing="Activate {}")
        return
    require_nothing_of_many(wish)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.activate(core, user_id=account.id, actor=operator())
    same = " already" if account.is_active else " now"
    _tell(changed, f"{changed.email} is active{same}.", as_json)


@choosing
def deactivate(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    chosen: Chosen,
    user: NobodyOr = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Shut an account out, or many that options choose.

    Rows stay; sessions and links end at once.
    """
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, Deactivate(), wish, doing="Deactivate {}")
        return
    require_nothing_of_many(wish)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.deactivate(core, user_id=account.id, actor=operator())
    same = " already" if account.status == changed.status else " now"
    _tell(changed, f"{changed.email} is deactivated{same}.", as_json)


def _tell(changed: accounts.Account, sentence: str, as_json: bool) -> None:
    print_json(as_dict(changed)) if as_json else typer.echo(sentence)


def unlock(ctx: typer.Context, user: Who) -> None:
    """Open a login that was locked after too many failures."""
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        was_locked = login.unlock(core, user_id=account.id, actor=operator())
    if was_locked:
        typer.echo(f"The login of {account.email} is open now.")
        return
    longest = core.settings.throttle.login_longest_pause_minutes
    typer.echo(
        f"The login of {account.email} is not locked. "
        f"A pause of one network after failed logins ends by itself, within {longest} minutes."
    )
