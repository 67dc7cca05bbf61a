"""What an operator does to accounts: the same use cases that administrators have over HTTP."""

from typing import Annotated

import typer

from usersvc.cli import completion
from usersvc.cli.bulk import DryRun, Wish, Yes, change_many, require_nothing_of_many
from usersvc.cli.choices import Role
from usersvc.cli.choosing import Chosen, choosing
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, NobodyOr, Who, print_done
from usersvc.cli.users import document
from usersvc.locales import Locale
from usersvc.services import accounts, admin, invitations, login
from usersvc.services.bulk import Activate, Deactivate, SetRole

_ROLE = typer.Argument(
    metavar="ROLE", help="user, moderator or admin.", autocompletion=completion.words_of(Role)
)


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
    """Give an account another role, or many that options choose.

    Without USER options choose: docs/operations.md#many-accounts-at-once. The last active administrator
    stays one.

        $ usersvc set-role ada@example.org user
        ada@example.org has the role user now.
        $ usersvc set-role moderator --group order-desk --yes
        outcome    accounts
        done       12
        unchanged  1
        skipped    0
        refused    0
    """
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
        now = document(core, account.id) if as_json else None
    same = " already" if account.role == changed.role else " now"
    print_done(now, f"{changed.email} has the role {changed.role}{same}.")


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

    One that was never active gets a link to choose a password by mail. Without USER options choose:
    docs/operations.md#many-accounts-at-once.

        $ usersvc activate ada@example.org
        ada@example.org is active now.
    """
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, Activate(), wish, doing="Activate {}")
        return
    require_nothing_of_many(wish)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = admin.activate(core, user_id=account.id, actor=operator())
        now = document(core, account.id) if as_json else None
    same = " already" if account.is_active else " now"
    print_done(now, f"{changed.email} is active{same}.")


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

    Rows stay; sessions and links end at once. Without USER options choose:
    docs/operations.md#many-accounts-at-once.

        $ usersvc deactivate ada@example.org
        ada@example.org is deactivated now.
        $ usersvc deactivate --role admin --inactive-for 90d
        Deactivate 3 accounts and mail 3 of them? [y/N]: y
        outcome    accounts
        done       2
        unchanged  0
        skipped    0
        refused    1

        email             code        message
        root@example.org  LAST_ADMIN  This is the last active administrator: make another one first.
        Error: 1 of 3 accounts refused.
        $ echo $?
        6
    """
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, Deactivate(), wish, doing="Deactivate {}")
        return
    require_nothing_of_many(wish)
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
