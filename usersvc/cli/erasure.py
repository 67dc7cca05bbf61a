"""What is held about somebody, and its end, from the shell."""

from dataclasses import asdict
from typing import Annotated

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done, print_json, print_json_list, print_table, shown
from usersvc.cli.users import document
from usersvc.services import accounts, deletion, erasure, export

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def export_user(ctx: typer.Context, user: Who) -> None:
    """Print everything that is held about a user, as JSON.

    It is what `GET /users/me/export` answers its owner, but whole however long the lists are. It has no
    secret and nothing of other people, so that it may be handed to who asks for it.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        found = export.export(core, user_id=account.id, actor=operator())
    print_json(asdict(found))


def delete_user(
    ctx: typer.Context,
    user: Who,
    cancel: Annotated[bool, typer.Option("--cancel", help="Keep an account that is to be deleted.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Have an account deleted in some days; logging in until then keeps it.

    All sessions end now, and the owner gets a mail. The worker erases the account when
    `retention.deletion_grace_days` are over.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if cancel:
            kept = deletion.cancel(core, user_id=account.id, actor=operator())
            done = f"{account.email} stays{'' if kept else ': nobody meant to delete it'}."
        else:
            if not yes:
                days = core.settings.retention.deletion_grace_days
                require_yes(
                    f"Log {account.email} out everywhere now, and delete the account in {days} days?",
                    err=as_json,
                )
            due_at = deletion.schedule(core, user_id=account.id, actor=operator())
            done = f"{account.email} is deleted from {shown(due_at)} on, unless its owner logs in before."
        now = document(core, account.id) if as_json else None
    print_done(now, done)


def forget_user(ctx: typer.Context, user: Who, yes: Yes = False, as_json: Json = False) -> None:
    """Erase an account, now and for good.

    Nothing is kept of it but its id, in entries of the audit that do not tell who it was, and in
    `usersvc erasures`. The owner gets a last mail where the account was ever active.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if not yes:
            require_yes(f"Erase {account.email} for good? This cannot be undone.", err=as_json)
        erasure.forget(core, user_id=account.id, actor=operator())
    print_done(
        {"id": account.id, "erased": True} if as_json else None,
        f"{account.email} is erased; what is left is the id {account.id}.",
    )


def erasures(ctx: typer.Context, as_json: Json = False) -> None:
    """List the ids of accounts that were erased, and when, the oldest first."""
    with opened(ctx) as core:
        found = (
            {"id": one.user_id, "erased_at": one.erased_at}
            for one in erasure.list_erasures(core, actor=operator())
        )
        if as_json:
            print_json_list(found)
        else:
            print_table(["id", "erased_at"], [[shown(value) for value in row.values()] for row in found])
