"""Mail from the shell."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from usersvc.cli import completion
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_done, print_json, print_table, shown
from usersvc.services import outbox as all_mails


class Status(StrEnum):
    DUE = "due"
    SENT = "sent"
    DEAD = "dead"
    FAILED = "failed"
    DROPPED = "dropped"


def outbox(
    ctx: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only mails in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List mails. Dead: given up after two days. Failed: refused for good. Dropped: not needed any more.

    The newest first: docs/operations.md#mail.

        $ usersvc outbox
        id            kind        address          status  attempts  created_at            last_error
        01a211f0-...  invitation  ada@example.org  due     0         2026-11-25 09:01:45Z
    """
    with opened(ctx) as core:
        found = all_mails.list_mails(core, status=status, limit=limit, actor=operator())
    if as_json:
        print_json([vars(mail) for mail in found])
        return
    columns = ["id", "kind", "address", "status", "attempts", "created_at", "last_error"]
    print_table(columns, [[shown(getattr(mail, column)) for column in columns] for mail in found])


def retry_mail(
    ctx: typer.Context,
    mail_id: Annotated[
        UUID,
        typer.Argument(
            metavar="ID", help="As `usersvc outbox` shows it.", autocompletion=completion.given_up_mails
        ),
    ],
    as_json: Json = False,
) -> None:
    """Try a mail again that was given up."""
    with opened(ctx) as core:
        mail = all_mails.retry(core, mail_id=mail_id, actor=operator())
    print_done(vars(mail) if as_json else None, "A worker tries it again within a minute.")


def send_test_mail(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whom to send it to.")],
    as_json: Json = False,
) -> None:
    """Send a mail now, past the outbox, to see whether the settings are right.

    Tells what the mail server says: docs/operations.md#by-smtp.
    """
    with opened(ctx) as core:
        where = all_mails.send_test(core, address=address, actor=operator())
    print_done({"address": address, "via": where} if as_json else None, f"Sent to {address}: {where}")
