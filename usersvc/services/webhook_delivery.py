"""What is due to webhooks, sent: claimed by lease, sent outside any transaction, settled, as mail is.

At least once, with the same `webhook-id` each time, in no promised order. What is not accepted is tried again
with growing pauses for two days, and then stays as `dead`. A receiver that fails or is slow holds up no other
one for longer than one answer of its takes.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from usersvc import logs
from usersvc.core import Core, Tx, retried
from usersvc.errors import DomainError, WebhookNotReached
from usersvc.repositories.webhooks import Delivery, Webhook
from usersvc.services import _webhooks
from usersvc.services._leases import LEASE, PAUSES, patiently, pause
from usersvc.services.actor import Actor
from usersvc.webhooks.endpoints import parse
from usersvc.webhooks.outcome import Outcome

JOB = "deliver_webhooks"
# Then others get the thread: mail must not wait for receivers.
TURN_SECONDS = 20
# Who takes longer to answer is slow.
_SLOW_SECONDS = 1.0

_log = logs.get("usersvc.webhooks")


def are_due(core: Core) -> bool:
    with core.read() as tx:
        return tx.deliveries.are_due(tx.now)


def deliver_due(
    core: Core,
    *,
    owner: str,
    stopping: Callable[[], bool] = lambda: False,
    turn: float = TURN_SECONDS,
) -> int:
    """Send what is due, until nothing is, `turn` seconds are over or the process is `stopping`; how many.

    `owner` names the worker in the leases. Any number of workers may do so at once. A webhook whose receiver
    fails is left alone for the rest of the turn, and for a minute; one that is slow, until no other waits.
    """
    sent = 0
    failing: set[UUID] = set()
    slow: set[UUID] = set()
    end = time.monotonic() + turn
    while not stopping() and time.monotonic() < end and _are_due(core, failing):
        others_wait = slow and _are_due(core, failing | slow)
        delivery = _claim(core, owner, failing | slow if others_wait else failing)
        if delivery is None:
            continue
        begun = time.monotonic()
        with logs.for_request(delivery.request_id):
            outcome = _handle(core, delivery)
        if outcome and outcome.is_accepted:
            sent += 1
        elif outcome:
            failing.add(delivery.webhook_id)
        if time.monotonic() - begun > _SLOW_SECONDS:
            slow.add(delivery.webhook_id)
    return sent


def _are_due(core: Core, failing: set[UUID]) -> bool:
    with core.read() as tx:
        return tx.deliveries.are_due(tx.now, without=failing)


@retried
def _claim(core: Core, owner: str, failing: set[UUID]) -> Delivery | None:
    with core.write() as tx:
        return tx.deliveries.claim_next(owner, at=tx.now, lease_until=tx.now + LEASE, without=failing)


def _handle(core: Core, delivery: Delivery) -> Outcome | None:
    """None where there is nobody to send it to any more."""
    with core.read() as tx:
        webhook = tx.webhooks.by_id(delivery.webhook_id)
    if webhook is None or webhook.disabled_at:
        _drop(core, delivery)
        return None
    outcome = _try(core, webhook, delivery)
    if outcome.is_accepted:
        # What arrived and still counts as due is sent again.
        patiently(lambda: _settle_sent(core, delivery, outcome))
    elif outcome.is_gone:
        _end(core, webhook, delivery, outcome)
    else:
        _put_off(core, delivery, outcome)
    _log_outcome(webhook, delivery, outcome)
    return outcome


def _log_outcome(webhook: Webhook, delivery: Delivery, outcome: Outcome) -> None:
    """Of the URL the host alone: the rest may hold a secret."""
    tell = _log.info if outcome.is_accepted else _log.warning
    tell(
        "webhook accepted" if outcome.is_accepted else "webhook not accepted",
        webhook=str(webhook.id),
        host=parse(webhook.url).host,
        about=delivery.event,
        attempt=delivery.attempts,
        outcome=outcome.word,
    )


def _try(core: Core, webhook: Webhook, delivery: Delivery) -> Outcome:
    body = _webhooks.body_of(delivery.event, delivery.data, at=delivery.created_at)
    try:
        return _webhooks.send(core, webhook, str(delivery.id), body)
    except DomainError:
        raise
    except Exception:
        # A bug, or a secret that does not open: it concerns this one alone.
        _log.exception("webhook not sent", webhook=str(webhook.id))
        return Outcome("not sent")


@retried
def _settle_sent(core: Core, delivery: Delivery, outcome: Outcome) -> None:
    with core.write() as tx:
        tx.deliveries.settle(delivery, "sent", at=tx.now, outcome=outcome.word)


@retried
def _drop(core: Core, delivery: Delivery) -> None:
    with core.write() as tx:
        tx.deliveries.settle(delivery, "dropped", at=tx.now)


@retried
def _end(core: Core, webhook: Webhook, delivery: Delivery, outcome: Outcome) -> None:
    """The receiver wants nothing more: an operator may enable it again."""
    with core.write() as tx:
        # The webhook before its deliveries, as who deletes it does.
        held = tx.webhooks.hold(webhook.id)
        if not tx.deliveries.settle(delivery, "failed", at=tx.now, outcome=outcome.word):
            return
        # Another address since: it has said nothing.
        if held and held.url == webhook.url:
            _webhooks.disable(tx, held, _job(delivery))


@retried
def _put_off(core: Core, delivery: Delivery, outcome: Outcome) -> None:
    """Later again, or given up, and with it all whose time is over; the others wait a little."""
    with core.write() as tx:
        next_attempt_at = tx.now + max(pause(delivery.attempts), timedelta(seconds=outcome.retry_after))
        is_over = next_attempt_at >= delivery.give_up_at
        settled = (
            tx.deliveries.settle(delivery, "dead", at=tx.now, outcome=outcome.word)
            if is_over
            else tx.deliveries.retry(delivery, next_attempt_at=next_attempt_at, outcome=outcome.word)
        )
        if not settled:
            return
        given_up = is_over + tx.deliveries.give_up_others(delivery.webhook_id, at=tx.now)
        if given_up:
            _tell_given_up(tx, delivery, outcome, given_up)
        until = tx.now + max(PAUSES[0], timedelta(seconds=outcome.retry_after))
        tx.deliveries.put_off_others(delivery.webhook_id, at=tx.now, until=until)


def _tell_given_up(tx: Tx, delivery: Delivery, outcome: Outcome, count: int) -> None:
    tx.audit(
        _job(delivery),
        "webhook.gave_up",
        outcome=WebhookNotReached.code,
        webhook=str(delivery.webhook_id),
        deliveries=count,
        result=outcome.word,
    )


def _job(delivery: Delivery) -> Actor:
    return replace(Actor.job(JOB), request_id=delivery.request_id)
