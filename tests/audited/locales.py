"""The language of a user's mails."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import OPERATOR, active, signed_in
from usersvc.services import accounts, locales


@told(accounts.change, "user.locale_changed | user ada | ada | ok")
def take_another_language(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    accounts.change(w.core, locale="de", actor=by)


@told(locales.set_locale, "user.locale_changed | operator tester | ada | ok")
def set_the_language_of_a_user(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    locales.set_locale(w.core, user_id=account.id, locale="zh-Hans", actor=OPERATOR)
