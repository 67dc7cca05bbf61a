"""Webhooks from the shell."""

import sys
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from usersvc.cli import completion
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_done, print_json, print_table, shown
from usersvc.services import webhooks as all_webhooks
from usersvc.services.webhooks import NewSecret
from usersvc.webhooks.events import Event


class Status(StrEnum):
    DUE = "due"
    SENT = "sent"
    DEAD = "dead"
    FAILED = "failed"
    DROPPED = "dropped"


Which = Annotated[
    UUID,
    typer.Argument(metavar="ID", help="As `usersvc webhooks` shows it.", autocompletion=completion.webhooks),
]
Events = Annotated[
    list[Event] | None,
    typer.Option("--event", metavar="EVENT", help=f"Several times for several: {', '.join(Event)}."),
]
OtherEvents = Annotated[
    list[Event] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help=f"Tell of these and no others; several times for several: {', '.join(Event)}.",
    ),
]
Described = Annotated[str | None, typer.Option("--description", help="A line of your own.")]


def webhooks(ctx: typer.Context, as_json: Json = False) -> None:
    """List webhooks: who is told what happens to accounts.

    The oldest first, with how many deliveries wait and since when: docs/webhooks.md.
    """
    with opened(ctx) as core:
        found = all_webhooks.list_webhooks(core, actor=operator())
    if as_json:
        print_json([vars(webhook) for webhook in found])
        return
    columns = ["id", "url", "events", "enabled", "waiting", "waiting_since", "description"]
    rows = [{**vars(webhook), "events": " ".join(webhook.events) or "all"} for webhook in found]
    print_table(columns, [[shown(row[column]) for column in columns] for row in rows])


def create_webhook(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send it: https://...")],
    event: Events = None,
    description: Described = None,
    as_json: Json = False,
) -> None:
    """Tell a URL of events, and show the secret that signs.

    Of all events where none is named. The secret is shown this once.
    """
    with opened(ctx) as core:
        made = all_webhooks.create(
            core, url=url, events=set(event or ()), description=description or "", actor=operator()
        )
    _show_secret(made, as_json=as_json)


def change_webhook(
    ctx: typer.Context,
    webhook_id: Which,
    *,
    url: Annotated[str | None, typer.Option(help="Send it there from now on, what waits too.")] = None,
    event: OtherEvents = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="Tell of all events.")] = False,
    description: Described = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Whether it is told; what waits for a disabled one is lost."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a webhook another URL or other events, or disable it.

    What is not named stays.
    """
    if all_events and event:
        raise typer.BadParameter("Either --event or --all-events.")
    if url is None and not event and not all_events and description is None and enabled is None:
        raise typer.BadParameter("Say what to change.")
    events = set(event or ()) if event or all_events else None
    with opened(ctx) as core:
        all_webhooks.change(
            core,
            webhook_id=webhook_id,
            url=url,
            events=events,
            description=description,
            enabled=enabled,
            actor=operator(),
        )
        now = all_webhooks.show(core, webhook_id=webhook_id, actor=operator())
    print_done(vars(now) if as_json else None, "Changed.")


def rotate_webhook_secret(ctx: typer.Context, webhook_id: Which, as_json: Json = False) -> None:
    """Give a webhook another secret; for a day the old one signs too.

    The secret is shown this once.
    """
    with opened(ctx) as core:
        made = all_webhooks.rotate_secret(core, webhook_id=webhook_id, actor=operator())
    _show_secret(made, as_json=as_json)


def delete_webhook(
    ctx: typer.Context,
    webhook_id: Which,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a webhook and its secret.

    What waits for it is dropped. JSON shows it as it was, and how many deliveries were `dropped`.
    """
    with opened(ctx) as core:
        found = all_webhooks.show(core, webhook_id=webhook_id, actor=operator())
        if not yes:
            if not sys.stdin or not sys.stdin.isatty():
                raise typer.BadParameter("There is no terminal to ask on: add --yes.")
            require_yes(f"Delete the webhook to {found.url}?", err=as_json)
        dropped = all_webhooks.delete(core, webhook_id=webhook_id, actor=operator())
    print_done(
        {**vars(found), "dropped": dropped} if as_json else None,
        f"Deleted. {dropped} deliveries were still due." if dropped else "Deleted.",
    )


def test_webhook(ctx: typer.Context, webhook_id: Which, as_json: Json = False) -> None:  # noqa: PT028 - no test
    """Send a test event now, and tell its status.

    `webhook.test`, past the deliveries. Fails (8) where it was not accepted.
    """
    with opened(ctx) as core:
        status = all_webhooks.send_test(core, webhook_id=webhook_id, actor=operator())
    print_done({"id": webhook_id, "accepted": status} if as_json else None, f"Accepted: {status}")


def webhook_deliveries(
    ctx: typer.Context,
    webhook: Annotated[
        UUID | None,
        typer.Option(metavar="ID", help="Only to this webhook.", autocompletion=completion.webhooks),
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List what was sent to webhooks, or waits.

    The newest first. Dead: given up after two days. Failed: the receiver wants nothing more. Dropped: there
    was nothing to tell, or nobody to be told.

        $ usersvc webhook-deliveries --status due
        id            webhook       event           user_id       status  attempts  outcome
        01a22458-...  01a22457-...  user.activated  01a22458-...  due     2         not connected
    """
    with opened(ctx) as core:
        found = all_webhooks.list_deliveries(
            core, webhook_id=webhook, status=status, limit=limit, actor=operator()
        )
    if as_json:
        print_json([vars(delivery) for delivery in found])
        return
    columns = ["id", "webhook", "event", "user_id", "status", "attempts", "outcome", "created_at"]
    print_table(columns, [[shown(getattr(delivery, column)) for column in columns] for delivery in found])


def retry_delivery(
    ctx: typer.Context,
    delivery_id: Annotated[
        UUID,
        typer.Argument(
            metavar="ID",
            help="As `usersvc webhook-deliveries` shows it.",
            autocompletion=completion.given_up_deliveries,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Try a delivery again that was given up.

    Under the same `webhook-id`.
    """
    with opened(ctx) as core:
        delivery = all_webhooks.retry_delivery(core, delivery_id=delivery_id, actor=operator())
    print_done(vars(delivery) if as_json else None, "A worker tries it again within a minute.")


def _show_secret(made: NewSecret, *, as_json: bool) -> None:
    if as_json:
        print_json(vars(made))
        return
    typer.echo(f"Webhook: {made.id}")
    typer.echo(f"Secret:  {made.secret}")
    typer.echo("Give the secret to the receiver now: it is not shown again.", err=True)
