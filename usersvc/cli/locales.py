"""The language of users' mails, from the shell."""

from typing import Annotated

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done
from usersvc.cli.users import document
from usersvc.locales import Locale
from usersvc.services import accounts, locales


def set_locale(
    ctx: typer.Context,
    user: Who,
    locale: Annotated[Locale, typer.Argument(metavar="LOCALE", help="en, de, fr, es, pt, hi or zh-Hans.")],
    as_json: Json = False,
) -> None:
    """Set the language of mails to a user. Mails that wait go out in it too."""
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        changed = locales.set_locale(core, user_id=account.id, locale=locale, actor=operator())
        now = document(core, changed.id) if as_json else None
    same = " already" if account.locale == changed.locale else " now"
    print_done(now, f"Mails to {changed.email} are in {changed.locale}{same}.")
