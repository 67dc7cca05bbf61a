"""Sessions from the shell."""

from typing import Annotated

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done, print_json, print_table, shown
from usersvc.services import accounts
from usersvc.services import sessions as all_sessions


def sessions(ctx: typer.Context, user: Who, as_json: Json = False) -> None:
    """List where a user is logged in.

    $ usersvc sessions root@example.org
    id            device      ip         created_at            last_used_at
    01a211f1-...  curl/8.5.0  192.0.2.7  2026-11-25 09:02:45Z  2026-11-25 09:02:45Z
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        found = all_sessions.list_of(core, user_id=account.id, actor=operator())
    columns = ["id", "device", "ip", "created_at", "last_used_at"]
    rows = [{column: getattr(session, column) for column in columns} for session in found]
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [[shown(value) for value in row.values()] for row in rows])


def revoke_sessions(
    ctx: typer.Context,
    user: Who,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """End all sessions of a user; it acts at once.

    $ usersvc revoke-sessions root@example.org --yes
    Ended 1 session of root@example.org.
    """
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if not yes:
            require_yes(f"End all sessions of {account.email}?", err=as_json)
        ended = all_sessions.revoke_all(core, user_id=account.id, actor=operator())
    print_done(
        {"email": account.email, "sessions_ended": ended} if as_json else None,
        f"Ended {ended} session{'' if ended == 1 else 's'} of {account.email}.",
    )
