"""The audit, in the shell."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from usersvc.cli import completion, ctrl_c, times
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_json_line, print_json_list, print_row, print_table, shown
from usersvc.core import Core
from usersvc.errors import ServiceNotFound, UserNotFound
from usersvc.services import accounts, service_accounts
from usersvc.services.actor import KINDS
from usersvc.services.audit import ACTIONS, MOST, Entry, Filters, follow, is_known, list_entries
from usersvc.stopping import Stop

_COLUMNS = ["at", "actor", "action", "target", "outcome", "ip"]
# Of lines that are printed before it is known what comes.
_WIDTHS = [20, 24, 28, 24, 19, 0]
_POLL_SECONDS = 1.0
# How soon Ctrl+C ends the pause between two looks.
_NAP_SECONDS = 0.05


def _action(text: str) -> str:
    if not is_known(text):
        subject = text.partition(".")[0] + "."
        there_are = [known for known in ACTIONS if known.startswith(subject)]
        there_are = there_are or list(dict.fromkeys(known.partition(".")[0] + "." for known in ACTIONS))
        raise typer.BadParameter(f"{text} is no action. There are {', '.join(there_are)}")
    return text


_SINCE = typer.Option(
    parser=times.time,
    metavar="TIME",
    help="Not older than this: 90s, 15m, 2h or 3d ago, 2026-11-22 or 2026-11-22T05:19; "
    "UTC unless it has a zone.",
)
_UNTIL = typer.Option(parser=times.time, metavar="TIME", help="Older than this, in the same forms.")
_WHAT = typer.Option(
    parser=_action,
    metavar="ACTION",
    help="One, as user.activated, or with a dot at its end all such: user.",
    autocompletion=completion.actions,
)
_WHO = typer.Option(
    metavar="WHO",
    help=f"Who acted: a user (address, username, id), a service (id), or {', '.join(KINDS)}.",
    autocompletion=completion.users,
)
_WHOM = typer.Option(
    metavar="USER",
    help="To whom it was done: address, username or id; a deleted account and a service by their ids.",
    autocompletion=completion.users,
)
_FOLLOW = typer.Option("--follow", "-f", help="Print what comes, from now or --since on, until Ctrl+C.")


def audit(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    actor: Annotated[str | None, _WHO] = None,
    target: Annotated[str | None, _WHOM] = None,
    action: Annotated[str | None, _WHAT] = None,
    since: Annotated[datetime | None, _SINCE] = None,
    until: Annotated[datetime | None, _UNTIL] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many, the newest first; else 50.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Without a limit.")] = False,
    following: Annotated[bool, _FOLLOW] = False,
    as_json: Json = False,
) -> None:
    """Show what happened, who did it and to whom.

    The newest first. docs/operations.md#the-audit lists the actions. JSON has the detail of each entry too.

    `--follow` shows an entry within about a second, each once, also one that is committed up to a minute
    after its time. (Where the clock is set back by more than that, what is written until it has caught up is
    only in the list.) With `--json` it prints an entry a line.

        $ usersvc audit --since 2h --action user. --limit 2
        at                    actor            action          target           outcome  ip
        2026-11-25 10:02:26Z  operator root    user.invited    bob@example.org  ok
        2026-11-25 10:02:24Z  eve@example.org  user.logged_in  eve@example.org  ok       192.0.2.7
    """
    if following and (until or limit or everything):
        raise typer.BadParameter("--follow has no end: leave out --until, --limit and --all.")
    if limit and everything:
        raise typer.BadParameter("--limit and --all contradict each other: leave out one.")
    if since and until and since > until:
        raise typer.BadParameter("--since is later than --until, so nothing can be found.")
    with opened(ctx) as core:
        who = actor if actor is None or actor in KINDS else _user(core, actor)
        filters = Filters(who, _user(core, target) if target is not None else None, action, since, until)
        if following:
            _follow(core, filters, as_json)
        else:
            _list(core, filters, None if everything else limit or 50, as_json)


def _user(core: Core, name: str) -> UUID:
    """An id is taken as it is: the account may be gone, its entries are not."""
    try:
        return UUID(name)
    except ValueError:
        return accounts.find(core, name=name, actor=operator()).id


def _list(core: Core, filters: Filters, limit: int | None, as_json: bool) -> None:
    found = _entries(core, filters)
    if as_json:
        print_json_list(vars(entry) for entry in islice(found, limit))
    else:
        print_table(_COLUMNS, list(map(_as_rows(core), islice(found, limit))))
    if next(found, None):
        typer.echo("There are older ones: take --all, or another --limit.", err=True)


def _entries(core: Core, filters: Filters) -> Iterator[Entry]:
    cursor = None
    while True:
        page = list_entries(core, filters=filters, limit=MOST, cursor=cursor, actor=operator())
        yield from page.entries
        cursor = page.next_cursor
        if cursor is None:
            return


def _follow(core: Core, filters: Filters, as_json: bool) -> None:
    """Until Ctrl+C, which lets the look in hand be finished; the second one ends at once."""
    as_row = _as_rows(core)
    stop = Stop()
    with ctrl_c.heard_by(stop.hear):
        if not as_json:
            print_row(_COLUMNS, _WIDTHS)
        for news in follow(core, filters=filters, actor=operator()):
            for entry in news:
                print_json_line(vars(entry)) if as_json else print_row(as_row(entry), _WIDTHS)
            if not news:
                _pause(stop)
            if stop.asked:
                return


def _pause(stop: Stop) -> None:
    until = time.monotonic() + _POLL_SECONDS
    while not stop.asked and time.monotonic() < until:
        time.sleep(_NAP_SECONDS)


def _as_rows(core: Core) -> Callable[[Entry], list[str]]:
    """What makes rows of entries, with the addresses of whom they name by id."""

    @cache
    def address(user_id: UUID) -> str:
        try:
            return accounts.find(core, name=str(user_id), actor=operator()).email
        except UserNotFound:
            return _service(core, user_id)

    def row(entry: Entry) -> list[str]:
        by_name = f"{entry.actor_kind} {entry.actor_name or ''}"
        who = address(entry.actor_id) if entry.actor_id and entry.actor_kind == "user" else by_name
        whom = address(entry.target_id) if entry.target_id else ""
        return [shown(entry.at), who.strip(), entry.action, whom, entry.outcome, shown(entry.ip)]

    return row


def _service(core: Core, service_id: UUID) -> str:
    try:
        return service_accounts.find(core, name=str(service_id), actor=operator()).name
    except ServiceNotFound:
        return str(service_id)
