"""Events on their way to receivers on this machine: each arrives, signed, or is seen to be given up."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import SimpleNamespace

import pytest
from standardwebhooks import WebhookVerificationError

from tests.conftest import Make
from tests.factories import OPERATOR, STRANGER, audit_rows, pending, together, user_row
from tests.hooks import deliver, deliveries, hook, reachable, tell, the_delivery
from tests.outbox import Killed
from tests.processes import free_port
from tests.receivers import HERE, Receiver, receiver
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.services import health, maintenance, registration, webhook_delivery, webhooks
from usersvc.services.actor import Actor
from usersvc.services.checks import workers
from usersvc.webhooks.endpoints import Allowed
from usersvc.webhooks.outcome import Outcome
from usersvc.webhooks.sender import Sender


@pytest.fixture
def met() -> Iterator[Receiver]:
    with receiver() as met:
        yield met


@pytest.fixture(autouse=True)
def allowed(core: Core) -> None:
    reachable(core)


def test_an_event_arrives_signed_as_the_standard_wants_it(
    core: Core, met: Receiver, clock: MovedClock, caplog: pytest.LogCaptureFixture
) -> None:
    secret = hook(core, met).secret
    token = pending(core)
    user = user_row(core)
    assert deliver(core) == 1
    registration.activate(core, token=token, actor=STRANGER)
    with caplog.at_level("INFO"):
        assert deliver(core) == 1
    _, got = met.received
    told = {"user_id": str(user.id), "status": "active", "role": "user"}
    at = clock.now().isoformat().replace("+00:00", "Z")
    assert got.verified_by(secret) == {"type": "user.activated", "timestamp": at, "data": told}
    assert b"example.org" not in got.body
    with pytest.raises(WebhookVerificationError):
        got.verified_by(hook(core, met).secret)
    assert [(one.status, one.outcome, one.attempts) for one in deliveries(core)] == [("sent", "204", 1)] * 2
    assert len({one.id for one in met.received}) == 2
    assert "webhook accepted" in caplog.text
    assert "hidden" not in caplog.text


def test_while_a_secret_replaces_another_both_are_good(core: Core, met: Receiver, clock: MovedClock) -> None:
    made = hook(core, met)
    new = webhooks.rotate_secret(core, webhook_id=made.id, actor=OPERATOR).secret
    tell(core)
    deliver(core)
    for secret in (made.secret, new):
        assert met.received[0].verified_by(secret)
    clock.move(hours=24)
    tell(core)
    deliver(core)
    assert len(met.received[1].headers["webhook-signature"].split()) == 1


def test_what_is_not_accepted_is_sent_again_with_the_same_id_and_then_given_up(
    core: Core, met: Receiver, clock: MovedClock
) -> None:
    hook(core, met)
    tell(core)
    met.answer(*[500, 302, 404] * 10)
    begun = clock.now()
    pauses = []
    while the_delivery(core).status == "due":
        deliver(core)
        pauses.append(the_delivery(core).next_attempt_at - clock.now())
        clock.move(seconds=pauses[-1].total_seconds())
    assert 41 < (clock.now() - begun) / timedelta(hours=1) <= 48
    minutes = [pause / timedelta(minutes=1) for pause in pauses]
    assert all(0.9 <= is_ / usual <= 1.1 for is_, usual in zip(minutes, (1, 5, 15, 60, 180), strict=False))
    assert len({got.id for got in met.received}) == 1
    assert len({got.headers["webhook-timestamp"] for got in met.received}) == len(met.received) > 10
    assert the_delivery(core).status == "dead"
    [entry] = audit_rows(core, "webhook.gave_up")
    assert (entry.actor_name, entry.detail["deliveries"]) == ("deliver_webhooks", 1)
    assert "1 deliveries were given up" in workers.webhooks(core).found

    webhooks.retry_delivery(core, delivery_id=the_delivery(core).id, actor=OPERATOR)
    met.answers.clear()
    assert deliver(core) == 1
    assert met.received[-1].id == str(the_delivery(core).id)


def test_a_worker_that_dies_after_sending_sends_again_when_its_lease_is_over(
    core: Core, met: Receiver, clock: MovedClock
) -> None:
    class Dying(Sender):
        def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
            super().send(url, headers, body)
            raise Killed

    secret = hook(core, met).secret
    tell(core)
    core.webhook_sender = Dying(Allowed(HERE))
    with pytest.raises(Killed):
        deliver(core, "killed")
    reachable(core)
    clock.move(minutes=5, seconds=-1)
    assert deliver(core, "other") == 0
    clock.move(seconds=1)
    assert deliver(core, "other") == 1
    first, second = met.received
    assert first.id == second.id
    assert first.body == second.body
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert (the_delivery(core).status, the_delivery(core).attempts) == ("sent", 2)
    assert secret


def test_of_several_workers_one_sends_each(make_core: Make, met: Receiver) -> None:
    cores = [reachable(make_core()) for _ in range(3)]
    hook(cores[0], met)
    tell(cores[0], times=30)
    sent = together(*(lambda core=core: deliver(core, str(id(core))) for core in cores))  # type: ignore[misc]
    assert sum(sent) == 30
    assert Counter(got.id for got in met.received) == Counter(str(one.id) for one in deliveries(cores[0]))


def test_a_worker_that_comes_back_after_its_lease_settles_nothing(
    core: Core, met: Receiver, clock: MovedClock
) -> None:
    class Slow(Sender):
        def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
            clock.move(minutes=6)
            reachable(core)
            assert deliver(core, "quicker") == 1
            return Outcome("timed out")

    hook(core, met)
    tell(core)
    core.webhook_sender = Slow(Allowed(HERE))
    assert deliver(core, "slow") == 0
    assert (the_delivery(core).status, the_delivery(core).attempts) == ("sent", 2)


def test_a_receiver_that_fails_holds_up_no_other_one_and_is_asked_once(
    core: Core, met: Receiver, clock: MovedClock
) -> None:
    away = hook(core, Receiver(port=free_port()))
    well = hook(core, met)
    tell(core, times=5)
    assert deliver(core) == 5
    assert {one.status for one in deliveries(core, well.id)} == {"sent"}
    tried = deliveries(core, away.id)
    assert sorted(one.attempts for one in tried) == [0, 0, 0, 0, 1]
    assert {one.outcome for one in tried} == {None, "not connected"}
    assert deliver(core) == 0
    vitals = health.vitals(core)
    assert (vitals.deliveries, vitals.delivery_overdue_since) == ({"due": 5, "sent": 5}, None)
    assert workers.webhooks(core).state == "ok"
    clock.move(hours=7)
    assert workers.webhooks(core).found == "1 of 2 do not take what is sent, for 7 h"
    # Those that were never tried share the fate of the one that was.
    clock.move(hours=42)
    deliver(core)
    assert {one.status for one in deliveries(core, away.id)} == {"dead"}
    assert [entry.detail["deliveries"] for entry in audit_rows(core, "webhook.gave_up")] == [5]


def test_a_receiver_that_is_slow_waits_for_the_others(
    core: Core, met: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, well = hook(core, Receiver(port=1)).id, hook(core, met).id
    came: list[str] = []
    passed = [0.0]
    monkeypatch.setattr(webhook_delivery, "time", SimpleNamespace(monotonic=lambda: passed[0]))

    class Slow:
        def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
            came.append("well" if url == met.url else "slow")
            passed[0] += 0 if url == met.url else 2
            return Outcome("204", 204)

    core.webhook_sender = Slow()  # type: ignore[assignment]
    tell(core, times=3)
    assert deliver(core) == 6
    assert came[-2:] == ["slow", "slow"]
    assert {one.status for hook_id in (slow, well) for one in deliveries(core, hook_id)} == {"sent"}


def test_a_receiver_that_asks_for_time_gets_it(core: Core, met: Receiver, clock: MovedClock) -> None:
    hook(core, met)
    tell(core, times=2)
    met.answer(429, retry_after="1200")
    assert deliver(core) == 0
    clock.move(minutes=19)
    assert deliver(core) == 0
    clock.move(minutes=1)
    assert deliver(core) == 2


def test_a_receiver_that_is_gone_is_told_nothing_more(core: Core, met: Receiver) -> None:
    made = hook(core, met)
    tell(core, times=3)
    met.answer(410)
    assert deliver(core) == 0
    tell(core)
    assert sorted(one.status for one in deliveries(core)) == ["dropped", "dropped", "failed"]
    assert not webhooks.show(core, webhook_id=made.id, actor=OPERATOR).enabled
    [entry] = audit_rows(core, "webhook.disabled")
    assert (entry.actor_kind, entry.actor_name, entry.detail["dropped"]) == ("job", "deliver_webhooks", 2)
    webhooks.change(core, webhook_id=made.id, enabled=True, actor=OPERATOR)
    tell(core)
    assert deliver(core) == 1


@pytest.mark.parametrize("way", ["deleted", "disabled", "deleted beside it"])
def test_what_was_due_to_a_webhook_that_is_no_more_is_dropped(core: Core, met: Receiver, way: str) -> None:
    made = hook(core, met)
    tell(core, times=2)
    if way == "deleted":
        assert webhooks.delete(core, webhook_id=made.id, actor=OPERATOR) == 2
    elif way == "disabled":
        webhooks.change(core, webhook_id=made.id, enabled=False, actor=OPERATOR)
    else:
        with core.write() as tx:
            tx.webhooks.delete(made.id)
    assert deliver(core) == 0
    assert {one.status for one in deliveries(core)} == {"dropped"}
    assert met.received == []


def test_a_secret_that_does_not_open_concerns_its_webhook_alone(core: Core, met: Receiver) -> None:
    broken, well = hook(core, met), hook(core, met)
    with core.write() as tx:
        other = tx.webhooks.by_id(well.id)
        assert other
        tx.webhooks.update(broken.id, at=tx.now, secret_wrapped=other.secret_wrapped)
    tell(core)
    assert deliver(core) == 1
    assert [(one.status, one.outcome) for one in deliveries(core, broken.id)] == [("due", "not sent")]


def test_a_turn_ends_and_a_stop_is_heard(core: Core, met: Receiver) -> None:
    hook(core, met)
    tell(core, times=3)
    assert webhook_delivery.deliver_due(core, owner="test", turn=0) == 0
    stopping = threading.Event()
    assert webhook_delivery.deliver_due(core, owner="test", stopping=lambda: bool(met.received)) == 1
    assert not stopping.is_set()
    assert webhook_delivery.are_due(core)


def test_what_was_done_with_is_purged_and_what_is_due_is_not(
    core: Core, met: Receiver, clock: MovedClock
) -> None:
    hook(core, met)
    tell(core)
    deliver(core)
    clock.move(days=8)
    tell(core)
    assert maintenance.purge(core, actor=Actor.job("test"))["webhook_deliveries"] == 1
    assert the_delivery(core).status == "due"
