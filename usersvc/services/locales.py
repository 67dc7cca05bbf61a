"""The language of a user's mails, set by an administrator or operator."""

from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import UserNotFound
from usersvc.locales import Locale
from usersvc.services import _locales, authorization
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor


@retried
def set_locale(core: Core, *, user_id: UUID, locale: Locale, actor: Actor) -> Account:
    """Mail this user in this language from now on. Raises Forbidden, UserNotFound."""
    with core.write() as tx:
        authorization.require(tx, actor, "users:write")
        user = tx.users.hold(user_id)
        if user is None:
            raise UserNotFound
        # Again, after waiting for who changed something here before.
        authorization.require(tx, actor, "users:write")
        authorization.require_over(tx, actor, user)
        _locales.write(tx, user, locale, actor=actor)
        return Account.of(tx.users.by_id(user.id) or user)
