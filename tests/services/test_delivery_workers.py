"""Workers that die, come back late or work at once: each mail goes out, none is taken from another."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import EmailMessage
from functools import partial

import pytest

from tests.conftest import Make
from tests.database import locked
from tests.factories import (
    STRANGER,
    outbox_rows,
    together,
    token_in,
)
from tests.outbox import Killed, Scripted, deliver, queue, registered, the_mail
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import DatabaseBusy
from usersvc.mail.transports import MemoryTransport
from usersvc.services import _mails, delivery, registration


def test_r03_r04_a_mail_that_a_killed_worker_held_is_sent_again_when_its_lease_is_over(
    core: Core, clock: MovedClock
) -> None:
    registered(core)
    core.transport = transport = Scripted(Killed())
    with pytest.raises(Killed):
        deliver(core, "killed")
    held = the_mail(core)
    assert (held.status, held.lease_owner, held.lease_until) == (
        "due",
        "killed",
        clock.now() + timedelta(minutes=5),
    )
    clock.move(minutes=5, seconds=-1)
    assert deliver(core, "other") == 0
    clock.move(seconds=1)
    assert deliver(core, "other") == 1
    first, second = transport.sent
    assert first["Message-ID"] == second["Message-ID"]
    assert token_in(first) == token_in(second)
    assert first.as_bytes().count(b"token=") == second.as_bytes().count(b"token=")
    assert registration.activate(core, token=token_in(first), actor=STRANGER).status == "active"
    assert (the_mail(core).status, the_mail(core).attempts) == ("sent", 2)


def test_a_mail_that_went_out_is_settled_when_the_database_is_back(core: Core) -> None:
    queue(core)
    others: list[threading.Thread] = []

    def keep_locked(started: threading.Event) -> None:
        with locked(core):
            started.set()
            time.sleep(3.5)  # longer than a write waits

    class Meanwhile(Scripted):
        def send(self, message: EmailMessage) -> str:
            started = threading.Event()
            others.append(threading.Thread(target=keep_locked, args=(started,)))
            others[0].start()
            assert started.wait(10)
            return super().send(message)

    core.transport = transport = Meanwhile()
    assert deliver(core) == 1
    others[0].join()
    assert the_mail(core).status == "sent"
    assert len(transport.sent) == 1


def test_r04_a_worker_that_comes_back_after_its_lease_settles_nothing(core: Core, clock: MovedClock) -> None:
    queue(core)

    class Slow(Scripted):
        def send(self, message: EmailMessage) -> str:
            where = super().send(message)
            if len(self.sent) == 1:
                clock.move(minutes=6)
                deliver(core, "quicker")
            return where

    core.transport = Slow(None, OSError("421 later"))
    deliver(core, "slow")
    mail = the_mail(core)
    assert (mail.status, mail.attempts) == ("due", 2)
    assert "421 later" in str(mail.last_error)


def test_r04_a_lease_that_was_lost_is_not_taken_for_a_later_one_of_the_same_worker(
    core: Core, clock: MovedClock
) -> None:
    queue(core)

    class Slow(Scripted):
        def send(self, message: EmailMessage) -> str:
            if not self.sent:
                self.sent.append(message)
                clock.move(minutes=6)
                with pytest.raises(Killed):
                    deliver(core, "worker")
                return "memory"
            return super().send(message)

    core.transport = Slow(Killed())
    deliver(core, "worker")
    mail = the_mail(core)
    assert (mail.status, mail.attempts, mail.lease_owner) == ("due", 2, "worker")


@pytest.mark.parametrize("hours", [1, -1])
def test_r04_a_clock_that_jumps_leaves_no_mail_behind(core: Core, clock: MovedClock, hours: int) -> None:
    queue(core)
    core.transport = Scripted(Killed())
    with pytest.raises(Killed):
        deliver(core)
    clock.move(hours=hours)
    deliver(core)
    clock.move(hours=1, minutes=5)
    deliver(core)
    assert the_mail(core).status == "sent"


def test_r05_whoever_queues_and_sends_at_once_each_mail_goes_out_once(
    make_core: Make, transport: MemoryTransport
) -> None:
    # Each core on its own is what a process is: three queue, two send, each of these in two threads.
    queueing, sending = [make_core() for _ in range(3)], [make_core() for _ in range(2)]
    addresses = [f"{number}@example.org" for number in range(240)]
    owners: Counter[int] = Counter()
    over = threading.Event()

    def fill(number: int) -> None:
        mine = addresses[number::3]
        for begin in range(0, len(mine), 20):
            with queueing[number].write(wait=60) as tx:
                for address in mine[begin : begin + 20]:
                    _mails.queue_mail(queueing[number], tx, "already_registered", address=address)

    def work(number: int) -> None:
        is_last = False
        while not is_last:
            is_last = over.is_set()
            try:
                owners[number] += delivery.deliver_due(sending[number % 2], owner=f"worker {number}")
            except DatabaseBusy:
                is_last = False

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, number) for number in range(4)]
        together(*(partial(fill, number) for number in range(3)))
        over.set()
        for worker in workers:
            worker.result()
    assert Counter(m["To"] for m in transport.sent) == dict.fromkeys(addresses, 1)
    found = outbox_rows(sending[0])
    assert len(found) == 240
    assert {(mail.status, mail.attempts) for mail in found} == {("sent", 1)}
    assert owners.total() == 240


def test_sending_happens_outside_any_transaction(core: Core) -> None:
    queue(core)
    written = threading.Event()

    class Writing(MemoryTransport):
        def send(self, message: EmailMessage) -> str:
            with core.write(wait=1) as tx:
                tx.audit(STRANGER, "test.written")
            written.set()
            return super().send(message)

    core.transport = Writing()
    assert deliver(core) == 1
    assert written.is_set()
