"""Sessions from the shell."""

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.bulk import DryRun, Wish, Yes, change_many, require_nothing_of_many
from usersvc.cli.choosing import Chosen, choosing
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, NobodyOr, Who, print_done, print_json, print_table, shown
from usersvc.services import accounts
from usersvc.services import sessions as all_sessions
from usersvc.services.bulk import RevokeSessions


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


@choosing
def revoke_sessions(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    chosen: Chosen,
    user: NobodyOr = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """End all sessions of a user, or of many that options choose; it acts at once.

    Without USER options choose: docs/operations.md#many-accounts-at-once.

        $ usersvc revoke-sessions root@example.org --yes
        Ended 1 session of root@example.org.
    """
    wish = Wish(chosen, dry_run, yes, as_json)
    if user is None:
        change_many(ctx, RevokeSessions(), wish, doing="End all sessions of {}")
        return
    require_nothing_of_many(wish)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        if not yes:
            require_yes(f"End all sessions of {account.email}?", err=as_json)
        ended = all_sessions.revoke_all(core, user_id=account.id, actor=operator())
    print_done(
        {"email": account.email, "sessions_ended": ended} if as_json else None,
        f"Ended {ended} session{'' if ended == 1 else 's'} of {account.email}.",
    )
