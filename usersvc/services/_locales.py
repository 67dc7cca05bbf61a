"""The step to another language, for several use cases. It takes the caller's transaction."""

from usersvc.core import Tx
from usersvc.locales import Locale
from usersvc.repositories.users import User
from usersvc.services import _events
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event


def write(tx: Tx, user: User, locale: Locale, *, actor: Actor) -> None:
    """Mails that wait go out in it too."""
    if locale == user.locale:
        return
    tx.users.set_locale(user.id, locale, at=tx.now)
    tx.audit(actor, "user.locale_changed", target=user.id, before=user.locale, after=locale)
    _events.tell(tx, Event.CHANGED, user.id)
