"""The language of users' mails, from the shell."""

from typing import Annotated

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Who
from usersvc.locales import Locale
from usersvc.services import accounts, locales


def set_locale(
    ctx: typer.Context,
    user: Who,
    locale: Annotated[Locale, typer.Argument(metavar="LOCALE", help="en, de, fr, es, pt, hi or zh-Hans.")],
) -> None:
    """Set the language of mails to a user. Mails that wait go out in it too."""
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = locales.set_locale(core, user_id=account.id, locale=locale, actor=operator())
    same = " already" if account.locale == changed.locale else " now"
    typer.echo(f"Mails to {changed.email} are in {changed.locale}{same}.")
