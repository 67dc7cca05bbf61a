"""What the database tells of the workers."""

from datetime import timedelta

from tests import outbox as mails
from tests.factories import EMAIL, OPERATOR
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.errors import MailRefused
from usersvc.services import health, maintenance


def test_nothing_has_happened_yet(core: Core) -> None:
    found = health.vitals(core)
    assert (found.mails, found.mail_waiting_since, found.mail_overdue_since) == ({}, None, None)
    assert (found.worker_seen_at, found.purged_at, found.purged) == (None, None, {})


def test_a_mail_waits_from_its_beginning_and_is_overdue_from_its_next_attempt(
    core: Core, clock: MovedClock
) -> None:
    written = clock.now()
    mails.queue(core)
    core.transport = mails.Scripted(ConnectionRefusedError())
    mails.deliver(core)
    retried = health.vitals(core)
    assert (retried.mails, retried.mail_waiting_since) == ({"due": 1}, written)
    assert retried.mail_overdue_since is None
    clock.move(minutes=10)
    overdue = health.vitals(core)
    assert overdue.mail_waiting_since == written
    assert overdue.mail_overdue_since == mails.the_mail(core).next_attempt_at


def test_a_mail_in_the_hands_of_a_worker_is_not_overdue(core: Core, clock: MovedClock) -> None:
    mails.queue(core)
    with core.write() as tx:
        tx.outbox.claim_next("a worker", at=tx.now, lease_until=tx.now + timedelta(minutes=5))
    assert health.vitals(core).mail_overdue_since is None
    clock.move(minutes=6)
    assert health.vitals(core).mail_overdue_since


def test_mails_are_counted_by_status(core: Core) -> None:
    mails.queue(core)
    mails.deliver(core)
    mails.queue(core)
    core.transport = mails.Scripted(MailRefused("550 no such user"))
    mails.deliver(core)
    mails.queue(core, "bob@example.org")
    found = health.vitals(core)
    assert found.mails == {"sent": 1, "failed": 1, "due": 1}


def test_a_worker_is_seen_when_it_sweeps_and_when_it_takes_a_mail(core: Core, clock: MovedClock) -> None:
    health.beat(core)
    assert health.vitals(core).worker_seen_at == clock.now()
    first = clock.now()
    clock.move(seconds=20)
    health.beat(core)
    assert health.vitals(core).worker_seen_at == first
    clock.move(seconds=10)
    mails.queue(core, EMAIL)
    mails.deliver(core)
    assert health.vitals(core).worker_seen_at == clock.now()


def test_a_sign_of_life_from_a_clock_that_was_ahead_is_overwritten(core: Core, clock: MovedClock) -> None:
    clock.move(hours=3)
    health.beat(core)
    clock.move(hours=-3)
    health.beat(core)
    assert health.vitals(core).worker_seen_at == clock.now()


def test_the_last_purge_is_told(core: Core, clock: MovedClock) -> None:
    counts = maintenance.purge(core, actor=OPERATOR)
    found = health.vitals(core)
    assert (found.purged_at, found.purged) == (clock.now(), counts)
