"""The language of a user's mails, set by an administrator or operator."""

from uuid import UUID

from usersvc.core import Core, retried
from usersvc.locales import Locale
from usersvc.services import _locales, _targets
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor


@retried
def set_locale(core: Core, *, user_id: UUID, locale: Locale, actor: Actor) -> Account:
    """Mail this user in this language from now on. Raises Forbidden, UserNotFound."""
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write")
        _locales.write(tx, user, locale, actor=actor)
        return Account.of(tx.users.by_id(user.id) or user)
