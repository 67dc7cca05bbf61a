"""Webhooks as an operator has them: made, changed, tried, deleted; and what was sent to them.

For operators alone: a stolen session of an administrator must not be able to point the server at addresses.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    DeliveryNotFound,
    DeliveryNotGivenUp,
    InvalidWebhook,
    WebhookNotFound,
    WebhookNotReached,
    WebhookUrlTaken,
)
from usersvc.repositories.webhooks import Delivery, Webhook
from usersvc.security.secrets import new_id
from usersvc.services import _webhooks, authorization
from usersvc.services._leases import GIVE_UP_AFTER
from usersvc.services.actor import Actor
from usersvc.webhooks.endpoints import Allowed, InvalidUrl, parse
from usersvc.webhooks.events import TEST, Event
from usersvc.webhooks.outcome import Outcome
from usersvc.webhooks.signing import as_text, new_secret

BOTH_SECRETS_FOR = timedelta(hours=24)
_MOST_OF_A_DESCRIPTION = 200


@dataclass(frozen=True)
class WebhookView:
    """A webhook without its secret."""

    id: UUID
    url: str
    events: list[str]
    """Empty: all."""
    description: str
    enabled: bool
    created_at: datetime
    updated_at: datetime
    waiting: int
    """Deliveries that still have to go out."""
    waiting_since: datetime | None

    @classmethod
    def of(cls, webhook: Webhook, waiting: int = 0, since: datetime | None = None) -> Self:
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=webhook.events,
            description=webhook.description,
            enabled=webhook.disabled_at is None,
            created_at=webhook.created_at,
            updated_at=webhook.updated_at,
            waiting=waiting,
            waiting_since=since,
        )


@dataclass(frozen=True)
class NewSecret:
    """What is shown once: nothing tells it again."""

    id: UUID
    secret: str = field(repr=False)


@dataclass(frozen=True)
class DeliveryView:
    id: UUID
    """The `webhook-id` of each try."""
    webhook: UUID
    event: str
    user_id: UUID
    status: str
    attempts: int
    outcome: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    """None where it is not due any more."""
    sent_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(
            id=delivery.id,
            webhook=delivery.webhook_id,
            event=delivery.event,
            user_id=delivery.user_id,
            status=delivery.status,
            attempts=delivery.attempts,
            outcome=delivery.outcome,
            created_at=delivery.created_at,
            next_attempt_at=delivery.next_attempt_at if delivery.status == "due" else None,
            sent_at=delivery.sent_at,
        )


def list_webhooks(core: Core, *, actor: Actor) -> list[WebhookView]:
    """The oldest first. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        waiting = tx.deliveries.waiting()
        return [WebhookView.of(webhook, *waiting.get(webhook.id, ())) for webhook in tx.webhooks.all()]


def show(core: Core, *, webhook_id: UUID, actor: Actor) -> WebhookView:
    """Raises WebhookNotFound, Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = tx.webhooks.by_id(webhook_id)
        waiting = tx.deliveries.waiting().get(webhook_id, ())
    if found is None:
        raise WebhookNotFound
    return WebhookView.of(found, *waiting)


@retried
def create(
    core: Core,
    *,
    url: str,
    events: Collection[Event] = (),
    description: str = "",
    enabled: bool = True,
    once: bool = False,
    actor: Actor,
) -> NewSecret:
    """Tell this address of these events from now on, of all where none is named.

    Raises InvalidWebhook, with the reason, Forbidden, KeysChanged; with `once` WebhookUrlTaken where there is
    one to this URL, made in this moment too. The address behind a name is looked at when something is sent.
    """
    authorization.require_operator(actor)
    require_url(core, url)
    require_description(description)
    secret = new_secret()
    with core.write() as tx:
        webhook_id = new_id(tx.now)
        # This waits for who makes another one.
        secret_wrapped = _webhooks.wrap(core, tx, webhook_id, secret)
        if once and tx.webhooks.is_there(url):
            raise WebhookUrlTaken
        tx.webhooks.insert(
            Webhook(
                id=webhook_id,
                url=url,
                events=sorted(events),
                description=description,
                secret_wrapped=secret_wrapped,
                created_at=tx.now,
                updated_at=tx.now,
                disabled_at=None if enabled else tx.now,
            )
        )
        host = parse(url).host
        tx.audit(actor, "webhook.created", webhook=str(webhook_id), host=host, events=sorted(events))
    return NewSecret(webhook_id, as_text(secret))


@retried
def change(
    core: Core,
    *,
    webhook_id: UUID,
    url: str | None = None,
    events: Collection[Event] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    actor: Actor,
) -> WebhookView:
    """Give a webhook what is not None. Disabled, it is told nothing, and what was still due is dropped.

    Raises InvalidWebhook, WebhookNotFound, Forbidden.
    """
    authorization.require_operator(actor)
    if url is not None:
        require_url(core, url)
    require_description(description or "")
    with core.write() as tx:
        webhook = _hold(tx, webhook_id)
        given = {"url": url, "events": None if events is None else sorted(events), "description": description}
        changed = {name: value for name, value in given.items() if value is not None}
        if changed or enabled:
            reenabled = {"disabled_at": None} if enabled else {}
            tx.webhooks.update(webhook_id, at=tx.now, **changed, **reenabled)
            told = sorted([*changed, *(["enabled"] if enabled else [])])
            host = parse(url or webhook.url).host
            tx.audit(actor, "webhook.changed", webhook=str(webhook_id), host=host, changed=told)
        if enabled is False:
            _webhooks.disable(tx, webhook, actor)
        return WebhookView.of(_hold(tx, webhook_id))


@retried
def rotate_secret(core: Core, *, webhook_id: UUID, actor: Actor) -> NewSecret:
    """Another secret. For a day the old one signs too, so that the receiver can change over.

    Raises WebhookNotFound, Forbidden, KeysChanged.
    """
    authorization.require_operator(actor)
    secret = new_secret()
    with core.write() as tx:
        webhook = _hold(tx, webhook_id)
        tx.webhooks.update(
            webhook_id,
            at=tx.now,
            secret_wrapped=_webhooks.wrap(core, tx, webhook_id, secret),
            old_secret_wrapped=webhook.secret_wrapped,
            old_secret_until=tx.now + BOTH_SECRETS_FOR,
        )
        tx.audit(actor, "webhook.secret_rotated", webhook=str(webhook_id))
    return NewSecret(webhook_id, as_text(secret))


@retried
def delete(core: Core, *, webhook_id: UUID, actor: Actor) -> int:
    """Forget a webhook and its secret; how many deliveries were still due, which are dropped.

    Raises WebhookNotFound, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        webhook = _hold(tx, webhook_id)
        tx.webhooks.delete(webhook_id)
        dropped = tx.deliveries.drop(webhook_id)
        host = parse(webhook.url).host
        tx.audit(actor, "webhook.deleted", webhook=str(webhook_id), host=host, dropped=dropped)
    return dropped


def send_test(core: Core, *, webhook_id: UUID, actor: Actor) -> str:
    """Send the event `webhook.test` now, past the deliveries; the status that it was accepted with.

    Raises WebhookNotFound, Forbidden, and WebhookNotReached with what became of it.
    """
    authorization.require_operator(actor)
    with core.read() as tx:
        webhook, now = tx.webhooks.by_id(webhook_id), tx.now
    if webhook is None:
        raise WebhookNotFound
    body = _webhooks.body_of(TEST, {}, at=now)
    outcome = _webhooks.send(core, webhook, str(new_id(now)), body)
    _tell_tested(core, webhook_id, outcome, actor)
    if not outcome.is_accepted:
        raise WebhookNotReached(f"The receiver did not accept it: {outcome.word}")
    return outcome.word


@retried
def _tell_tested(core: Core, webhook_id: UUID, outcome: Outcome, actor: Actor) -> None:
    result = "ok" if outcome.is_accepted else WebhookNotReached.code
    with core.write() as tx:
        tx.audit(actor, "webhook.tested", outcome=result, webhook=str(webhook_id), result=outcome.word)


def list_deliveries(
    core: Core, *, webhook_id: UUID | None = None, status: str | None = None, limit: int = 50, actor: Actor
) -> list[DeliveryView]:
    """The newest first. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        found = tx.deliveries.newest(webhook_id=webhook_id, status=status, limit=limit)
    return [DeliveryView.of(delivery) for delivery in found]


@retried
def retry_delivery(core: Core, *, delivery_id: UUID, actor: Actor) -> DeliveryView:
    """Try a delivery again that was given up, for another two days, under the same id.

    Raises DeliveryNotFound, DeliveryNotGivenUp, Forbidden.
    """
    authorization.require_operator(actor)
    with core.write() as tx:
        revived = tx.deliveries.revive(delivery_id, at=tx.now, give_up_at=tx.now + GIVE_UP_AFTER)
        delivery = tx.deliveries.by_id(delivery_id)
        if delivery is None:
            raise DeliveryNotFound
        if not revived:
            raise DeliveryNotGivenUp
        tx.audit(actor, "webhook.delivery_retried", delivery=str(delivery_id))
        tx.wake_worker()
    return DeliveryView.of(delivery)


def _hold(tx: Tx, webhook_id: UUID) -> Webhook:
    found = tx.webhooks.hold(webhook_id)
    if found is None:
        raise WebhookNotFound
    return found


def require_url(core: Core, url: str) -> None:
    """Raises InvalidWebhook. An address is judged here already, so that the mistake is told at once."""
    networks = core.settings.webhooks.allowed_networks
    try:
        endpoint = parse(url)
    except InvalidUrl as error:
        raise InvalidWebhook(f"Webhooks cannot be sent to this URL. {error}") from None
    if not endpoint.over_tls and not networks:
        raise InvalidWebhook("Webhooks go by https, and by http only into webhooks.allowed_networks.")
    try:
        address = str(ipaddress.ip_address(endpoint.host))
    except ValueError:
        return
    if not Allowed(networks).reaches(address, over_tls=endpoint.over_tls):
        raise InvalidWebhook(f"{address} is not public: name its network in webhooks.allowed_networks.")


def require_description(text: str) -> None:
    """Raises InvalidWebhook."""
    if len(text) > _MOST_OF_A_DESCRIPTION or not text.isprintable():
        raise InvalidWebhook(f"A description is one line of at most {_MOST_OF_A_DESCRIPTION} characters.")
