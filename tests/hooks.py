"""Webhooks in the database, and deliveries to them."""

from uuid import UUID

from sqlalchemy import select

from tests.factories import OPERATOR
from tests.receivers import HERE, Receiver
from usersvc.core import Core
from usersvc.db.models import webhook_deliveries
from usersvc.repositories.webhooks import Delivery
from usersvc.security.secrets import new_id
from usersvc.services import _events, webhook_delivery, webhooks
from usersvc.services.webhooks import NewSecret
from usersvc.webhooks.endpoints import Allowed
from usersvc.webhooks.events import Event
from usersvc.webhooks.sender import Sender


def reachable(core: Core, sender: Sender | None = None) -> Core:
    """The core as it is where the settings name this machine's own network."""
    own = core.settings.webhooks.model_copy(update={"allowed_networks": HERE})
    core.settings = core.settings.model_copy(update={"webhooks": own})
    core.webhook_sender = sender or Sender(Allowed(HERE), seconds=10)
    return core


def hook(core: Core, receiver: Receiver, *events: Event) -> NewSecret:
    return webhooks.create(core, url=receiver.url, events=events, actor=OPERATOR)


def tell(core: Core, times: int = 1, event: Event = Event.ACTIVATED) -> None:
    """Events about accounts that nobody made."""
    with core.write() as tx:
        _events.tell(tx, event, *(new_id(tx.now) for _ in range(times)))


def deliver(core: Core, owner: str = "test") -> int:
    return webhook_delivery.deliver_due(core, owner=owner)


def deliveries(core: Core, webhook_id: UUID | None = None) -> list[Delivery]:
    columns = [webhook_deliveries.c[name] for name in Delivery.__dataclass_fields__]
    found = select(*columns).order_by(webhook_deliveries.c.id)
    with core.read() as tx:
        every = [Delivery(*row) for row in tx.connection.execute(found)]
    return [one for one in every if webhook_id in (None, one.webhook_id)]


def the_delivery(core: Core) -> Delivery:
    [delivery] = deliveries(core)
    return delivery
