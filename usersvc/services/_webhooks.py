"""Steps to webhooks that the operator's use cases and the worker share."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from usersvc.clock import rfc_3339
from usersvc.core import Core, Tx
from usersvc.errors import KeysChanged
from usersvc.repositories.webhooks import Webhook
from usersvc.services.actor import Actor
from usersvc.webhooks.endpoints import parse
from usersvc.webhooks.outcome import Outcome
from usersvc.webhooks.signing import signed_headers


def body_of(event: str, data: dict[str, Any], *, at: datetime) -> bytes:
    """The same bytes for each try; `at` is when it happened."""
    payload = {"type": event, "timestamp": rfc_3339(at), "data": data}
    return json.dumps(payload, separators=(",", ":")).encode()


def wrap(core: Core, tx: Tx, webhook_id: UUID, secret: bytes) -> bytes:
    """Raises KeysChanged where the secret key was replaced since this process has it."""
    if tx.keys.hold() != core.webhook_secrets.check:
        raise KeysChanged
    return core.webhook_secrets.wrap(webhook_id, secret)


def send(core: Core, webhook: Webhook, message_id: str, body: bytes) -> Outcome:
    """One try, signed for this moment; also with the older secret, for as long as that holds."""
    now = core.clock.now()
    wrapped = [webhook.secret_wrapped]
    if webhook.old_secret_wrapped and webhook.old_secret_until and now < webhook.old_secret_until:
        wrapped.append(webhook.old_secret_wrapped)
    secrets = [core.webhook_secrets.open(webhook.id, one) for one in wrapped]
    headers = signed_headers(secrets, message_id=message_id, at=now, body=body)
    return core.webhook_sender.send(webhook.url, headers, body)


def disable(tx: Tx, webhook: Webhook, actor: Actor) -> None:
    """Tell this webhook nothing more; what is still due to it is dropped. Nothing where it is disabled."""
    if webhook.disabled_at:
        return
    tx.webhooks.update(webhook.id, at=tx.now, disabled_at=tx.now)
    dropped = tx.deliveries.drop(webhook.id)
    host = parse(webhook.url).host
    tx.audit(actor, "webhook.disabled", webhook=str(webhook.id), host=host, dropped=dropped)
