"""Webhooks and deliveries to them."""

from collections.abc import Iterator
from uuid import UUID

from tests.audited.case import World, told
from tests.factories import (
    OPERATOR,
)
from tests.hooks import hook, reachable, tell, the_delivery
from tests.processes import free_port
from tests.receivers import Receiver, receiver
from usersvc.services import (
    webhook_delivery,
    webhooks,
)


def _hook(w: World, met: Receiver | None = None) -> UUID:
    """A webhook to this machine; where no receiver is given, to a port that nobody listens on."""
    reachable(w.core)
    return hook(w.core, met or Receiver(port=free_port())).id


@told(webhooks.create, "webhook.created | operator tester |  | ok")
def make_a_webhook(w: World) -> Iterator[None]:
    yield
    webhooks.create(w.core, url="https://receiver.example/", actor=OPERATOR)


@told(
    webhooks.change,
    "webhook.changed | operator tester |  | ok",
    "webhook.disabled | operator tester |  | ok",
    "webhook.changed | operator tester |  | ok",
)
def change_a_webhook(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    tell(w.core)
    yield
    webhooks.change(w.core, webhook_id=webhook_id, description="Ours", actor=OPERATOR)
    webhooks.change(w.core, webhook_id=webhook_id, enabled=False, actor=OPERATOR)
    webhooks.change(w.core, webhook_id=webhook_id, enabled=True, actor=OPERATOR)


@told(webhooks.rotate_secret, "webhook.secret_rotated | operator tester |  | ok")
def give_a_webhook_another_secret(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    yield
    webhooks.rotate_secret(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.delete, "webhook.deleted | operator tester |  | ok")
def delete_a_webhook(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    tell(w.core)
    yield
    webhooks.delete(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.send_test, "webhook.tested | operator tester |  | WEBHOOK_NOT_REACHED")
def try_a_webhook_in_vain(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    yield
    webhooks.send_test(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.retry_delivery, "webhook.delivery_retried | operator tester |  | ok")
def retry_a_delivery(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    w.clock.move(hours=48)
    webhook_delivery.deliver_due(w.core, owner="test")
    yield
    webhooks.retry_delivery(w.core, delivery_id=the_delivery(w.core).id, actor=OPERATOR)


@told(webhook_delivery.deliver_due)
def send_what_is_accepted_and_drop_what_nobody_is_told(w: World) -> Iterator[None]:
    with receiver() as met:
        gone = _hook(w, met)
        _hook(w, met)
        tell(w.core)
        with w.core.write() as tx:
            tx.webhooks.delete(gone)
        yield
        webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due)
def put_off_a_delivery(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    yield
    webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due, "webhook.gave_up | job deliver_webhooks |  | WEBHOOK_NOT_REACHED")
def give_up_a_delivery_after_two_days(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    w.clock.move(hours=48)
    yield
    webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due, "webhook.disabled | job deliver_webhooks |  | ok")
def hear_that_a_receiver_is_gone(w: World) -> Iterator[None]:
    with receiver() as met:
        _hook(w, met)
        tell(w.core)
        met.answer(410, 410)
        yield
        webhook_delivery.deliver_due(w.core, owner="test")
