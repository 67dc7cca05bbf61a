"""Webhooks as an operator makes and changes them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import rows
from tests.factories import OPERATOR, an_admin, audit_rows, signed_in
from tests.hooks import deliveries, hook, reachable, tell
from tests.receivers import Receiver, receiver
from usersvc.core import Core
from usersvc.errors import (
    DeliveryNotFound,
    DeliveryNotGivenUp,
    Forbidden,
    InvalidWebhook,
    WebhookNotFound,
    WebhookNotReached,
)
from usersvc.security.keys import WrongSecret
from usersvc.security.webhook_secrets import WebhookSecrets
from usersvc.services import webhooks
from usersvc.webhooks.events import Event

# What is refused, and told, is the same on every database.
pytestmark = pytest.mark.sqlite

URL = "https://receiver.example/hook?key=hidden"
NOBODY = UUID(int=7)


def test_a_webhook_is_made_changed_and_deleted_and_each_is_told_without_its_query(core: Core) -> None:
    made = webhooks.create(core, url=URL, events={Event.DELETED, Event.CHANGED}, actor=OPERATOR)
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    changed = webhooks.change(
        core, webhook_id=made.id, url="https://other.example/", events=(), description="Ours", actor=OPERATOR
    )
    assert (changed.url, changed.events, changed.description) == ("https://other.example/", [], "Ours")
    webhooks.change(core, webhook_id=made.id, enabled=False, actor=OPERATOR)
    webhooks.change(core, webhook_id=made.id, enabled=False, actor=OPERATOR)
    assert [one.enabled for one in webhooks.list_webhooks(core, actor=OPERATOR)] == [False]
    assert webhooks.delete(core, webhook_id=made.id, actor=OPERATOR) == 0
    assert webhooks.list_webhooks(core, actor=OPERATOR) == []
    [created] = audit_rows(core, "webhook.created")
    events = ["user.changed", "user.deleted"]
    assert created.detail == {"webhook": str(made.id), "host": "receiver.example", "events": events}
    assert [entry.detail["changed"] for entry in audit_rows(core, "webhook.changed")] == [
        ["description", "events", "url"]
    ]
    assert len(audit_rows(core, "webhook.disabled")) == len(audit_rows(core, "webhook.deleted")) == 1
    assert "hidden" not in str(rows(core, "SELECT detail FROM audit"))


def test_the_secret_lies_in_the_database_wrapped_for_its_webhook_alone(core: Core) -> None:
    made = webhooks.create(core, url=URL, actor=OPERATOR)
    [(stored,)] = rows(core, "SELECT secret_wrapped FROM webhooks")
    assert len(core.webhook_secrets.open(made.id, stored)) == 32
    for secrets, webhook_id in (
        (core.webhook_secrets, NOBODY),
        (WebhookSecrets("another secret key of this length"), made.id),
    ):
        with pytest.raises(WrongSecret):
            secrets.open(webhook_id, stored)


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.example/",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/latest",
        "https://[64:ff9b::10.0.0.1]/",
        "https://user@receiver.example/",
        "receiver.example",
    ],
)
def test_what_may_not_be_reached_is_refused_when_it_is_named(core: Core, url: str) -> None:
    made = webhooks.create(core, url=URL, actor=OPERATOR)
    with pytest.raises(InvalidWebhook):
        webhooks.create(core, url=url, actor=OPERATOR)
    with pytest.raises(InvalidWebhook):
        webhooks.change(core, webhook_id=made.id, url=url, actor=OPERATOR)
    assert [one.url for one in webhooks.list_webhooks(core, actor=OPERATOR)] == [URL]


def test_a_network_that_the_settings_name_may_be_reached_in_the_clear(make_core: Make) -> None:
    core = make_core(webhooks__allowed_networks="10.0.0.0/8")
    for url in ("http://10.1.2.3/", "http://receiver.internal/", "https://10.1.2.3/"):
        webhooks.create(core, url=url, actor=OPERATOR)
    for url in ("http://11.1.2.3/", "http://93.184.216.34/", "https://192.168.0.1/"):
        with pytest.raises(InvalidWebhook):
            webhooks.create(core, url=url, actor=OPERATOR)


def test_a_description_is_one_short_line(core: Core) -> None:
    for bad in ("x" * 201, "two\nlines"):
        with pytest.raises(InvalidWebhook):
            webhooks.create(core, url=URL, description=bad, actor=OPERATOR)


def test_a_test_event_is_sent_at_once_and_leaves_no_delivery(core: Core) -> None:
    reachable(core)
    with receiver() as met:
        made = hook(core, met, Event.DELETED)
        assert webhooks.send_test(core, webhook_id=made.id, actor=OPERATOR) == "204"
        assert met.received[0].verified_by(made.secret)["type"] == "webhook.test"
        met.answer(500)
        with pytest.raises(WebhookNotReached, match="500"):
            webhooks.send_test(core, webhook_id=made.id, actor=OPERATOR)
    assert deliveries(core) == []
    results = [(entry.outcome, entry.detail["result"]) for entry in audit_rows(core, "webhook.tested")]
    assert results == [("ok", "204"), ("WEBHOOK_NOT_REACHED", "500")]


USES: dict[str, Callable[..., Any]] = {
    "list": lambda core, actor: webhooks.list_webhooks(core, actor=actor),
    "create": lambda core, actor: webhooks.create(core, url=URL, actor=actor),
    "show": lambda core, actor: webhooks.show(core, webhook_id=NOBODY, actor=actor),
    "change": lambda core, actor: webhooks.change(core, webhook_id=NOBODY, enabled=True, actor=actor),
    "rotate": lambda core, actor: webhooks.rotate_secret(core, webhook_id=NOBODY, actor=actor),
    "delete": lambda core, actor: webhooks.delete(core, webhook_id=NOBODY, actor=actor),
    "test": lambda core, actor: webhooks.send_test(core, webhook_id=NOBODY, actor=actor),
    "deliveries": lambda core, actor: webhooks.list_deliveries(core, actor=actor),
    "retry": lambda core, actor: webhooks.retry_delivery(core, delivery_id=NOBODY, actor=actor),
}


def test_who_is_no_operator_can_do_none_of_it_whatever_his_role(core: Core) -> None:
    an_admin(core)
    by = signed_in(core, "root@example.org")
    for use in USES.values():
        with pytest.raises(Forbidden):
            use(core, by)


def test_what_is_not_there_is_told(core: Core) -> None:
    for name in ("show", "change", "rotate", "delete", "test"):
        with pytest.raises(WebhookNotFound):
            USES[name](core, OPERATOR)
    with pytest.raises(DeliveryNotFound):
        USES["retry"](core, OPERATOR)
    hook(reachable(core), Receiver(port=1))
    tell(core)
    with pytest.raises(DeliveryNotGivenUp):
        webhooks.retry_delivery(core, delivery_id=deliveries(core)[0].id, actor=OPERATOR)
