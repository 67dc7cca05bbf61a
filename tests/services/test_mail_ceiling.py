"""The ceiling of mails for the whole instance: strangers cannot use it up for who forgot a password."""

import threading
from collections import Counter

from tests.conftest import Make
from tests.factories import EMAIL, STRANGER, active, outbox_rows
from tests.outbox import Scripted, deliver, queue, registered
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.errors import LoginRefused
from usersvc.services import passwords


def _queue_by_strangers(core: Core, mails: int) -> None:
    for number in range(mails):
        queue(core, f"u{number}@example.org", "already_registered")


def _status(core: Core) -> Counter[tuple[str, str]]:
    return Counter((mail.kind, mail.status) for mail in outbox_rows(core))


def test_mails_that_strangers_cause_leave_the_last_fifth(make_core: Make) -> None:
    core = make_core(throttle__mails_per_hour_in_all=10)
    active(core)
    _queue_by_strangers(core, 12)
    assert deliver(core) == 8 - 1  # one went out when the account was activated
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    assert deliver(core) == 1
    assert _status(core)["password_reset", "sent"] == 1
    assert _status(core)["already_registered", "due"] == 5
    registered(core, "bob@example.org")
    assert deliver(core) == 0
    assert _status(core)["activation", "due"] == 1


def test_over_the_ceiling_nothing_goes_out_and_nothing_is_lost(make_core: Make, clock: MovedClock) -> None:
    core = make_core(throttle__mails_per_hour_in_all=10)
    for _ in range(14):
        queue(core, kind="password_changed")
    assert deliver(core) == 10
    assert deliver(core) == 0
    assert Counter(mail.attempts for mail in outbox_rows(core)) == {1: 10, 0: 4}
    clock.move(hours=1)
    assert deliver(core) == 4


def test_a_mail_that_never_reached_the_server_does_not_count(make_core: Make, clock: MovedClock) -> None:
    core = make_core(throttle__mails_per_hour_in_all=10)
    for _ in range(10):
        queue(core, kind="password_changed")
    core.transport = Scripted(*[LoginRefused("535 wrong password")] * 5)
    for _ in range(5):
        assert deliver(core) == 0
        clock.move(minutes=1)
    assert deliver(core) == 10


def test_workers_at_once_keep_to_the_ceiling_together(make_core: Make) -> None:
    core = make_core(throttle__mails_per_hour_in_all=20)
    for _ in range(40):
        queue(core, kind="password_changed")
    workers = [threading.Thread(target=deliver, args=(core, f"worker {number}")) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert _status(core) == {("password_changed", "sent"): 20, ("password_changed", "due"): 20}


def test_switched_off_there_is_no_ceiling(make_core: Make) -> None:
    core = make_core(throttle__enabled=False, throttle__mails_per_hour_in_all=10)
    _queue_by_strangers(core, 15)
    assert deliver(core) == 15
