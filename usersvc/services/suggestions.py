"""Names that begin as somebody typed them, a few of each kind: for completion in a shell."""

from collections.abc import Iterable

from usersvc.core import Core
from usersvc.repositories.directory import Filters
from usersvc.repositories.users import User
from usersvc.services import authorization
from usersvc.services._groups import MOST_GROUPS
from usersvc.services.actor import Actor

MOST = 20


def users(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Addresses, and usernames where those begin so; found by their indexes. Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        filters = Filters(prefix=beginning.lower() or None)
        found = tx.directory.page(filters, sort="email", after=None, limit=MOST)
    return [_name(user, beginning.lower()) for user in found]


def groups(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "groups:read")
        found = tx.groups.page(after=None, limit=MOST_GROUPS)
    return _few((group.name for group in found), beginning)


def services(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "services:read")
        found = tx.services.all()
    return _few((service.name for service in found), beginning)


def webhooks(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Ids. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = tx.webhooks.all()
    return _few((str(webhook.id) for webhook in found), beginning)


def given_up_mails(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Ids of the newest that can be tried again. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = [
            mail for status in ("dead", "failed") for mail in tx.outbox.newest(status=status, limit=MOST)
        ]
    return _few((str(mail.id) for mail in found), beginning)


def given_up_deliveries(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Ids of the newest that can be tried again. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = [
            delivery
            for status in ("dead", "failed")
            for delivery in tx.deliveries.newest(webhook_id=None, status=status, limit=MOST)
        ]
    return _few((str(delivery.id) for delivery in found), beginning)


def keys(core: Core, *, beginning: str, actor: Actor) -> list[str]:
    """Ids. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = [key.kid for key in tx.keys.all() if key.compromised_at is None]
    return _few(found, beginning)


def _name(user: User, beginning: str) -> str:
    if not user.email.lower().startswith(beginning) and user.username:
        return user.username
    return user.email


def _few(names: Iterable[str], beginning: str) -> list[str]:
    return [name for name in names if name.startswith(beginning)][:MOST]
