"""What becomes of a mail after each kind of conversation with a mail server."""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.factories import EMAIL, STRANGER, outbox_rows, token_in
from tests.outbox import deliver, queue, registered, the_mail
from tests.smtp import MailServer, mail_server, transport
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.smtp import SmtpTransport
from usersvc.services import delivery, registration

LOGIN = ("mailer", "right horse battery")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server(login=LOGIN) as server:
        yield server


def with_password(server: MailServer, password: str) -> SmtpTransport:
    return transport(server.port, username=LOGIN[0], password=password)


def test_a_mail_that_the_server_takes_is_sent_and_its_link_works(core: Core, server: MailServer) -> None:
    core.transport = with_password(server, LOGIN[1])
    registered(core)
    assert deliver(core) == 1
    assert (the_mail(core).status, the_mail(core).attempts) == ("sent", 1)
    [mail] = server.received
    assert mail.recipients == [EMAIL]
    assert mail.message["Message-ID"] == the_mail(core).message_id
    assert registration.activate(core, token=token_in(mail.message), actor=STRANGER).status == "active"


@pytest.mark.parametrize(("step", "told"), [("RCPT", "RCPT TO"), ("DATA", "DATA"), ("CONTENT", "DATA")])
def test_r08_a_mail_that_is_refused_for_good_fails_at_once_and_alone(
    core: Core, server: MailServer, step: str, told: str
) -> None:
    for number in range(3):
        queue(core, f"{number}@example.org")
    server.answers[step] = ["550 5.1.1 no such user"]
    core.transport = with_password(server, LOGIN[1])
    assert deliver(core) == 2
    failed, *others = outbox_rows(core)
    assert (failed.status, failed.attempts, failed.sent_at) == ("failed", 1, None)
    assert failed.last_error == f"MailRefused: {told} was answered with 550 5.1.1 no such user"
    assert {mail.status for mail in others} == {"sent"}


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("EHLO", "550 never"),
        ("AUTH", "454 4.7.0 later"),
        ("MAIL", "550 never"),
        ("RCPT", "451 greylisted"),
        ("RCPT", "421 closing"),
        ("CONTENT", "452 no room"),
    ],
)
def test_r08_r09_a_mail_that_is_put_off_is_tried_again_and_arrives_under_the_same_id(
    core: Core, clock: MovedClock, server: MailServer, step: str, answer: str
) -> None:
    queue(core)
    server.answers[step] = [answer, None]
    core.transport = with_password(server, LOGIN[1])
    assert deliver(core) == 0
    mail = the_mail(core)
    assert (mail.status, mail.attempts) == ("due", 1)
    assert answer in str(mail.last_error)
    assert timedelta(seconds=50) < mail.next_attempt_at - clock.now() < timedelta(seconds=70)
    clock.move(minutes=2)
    assert deliver(core) == 1
    assert (the_mail(core).status, the_mail(core).attempts) == ("sent", 2)
    [arrived] = server.received
    assert arrived.message["Message-ID"] == mail.message_id


def test_r06_a_server_that_stays_away_for_two_days_makes_the_mail_dead(core: Core, clock: MovedClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        core.transport = transport(taken.getsockname()[1])
    queue(core)
    while the_mail(core).status == "due":
        clock.at = the_mail(core).next_attempt_at
        assert deliver(core) == 0
    assert the_mail(core).status == "dead"
    assert "NotSent: no connection to 127.0.0.1" in str(the_mail(core).last_error)


# -- a refused login


def test_r08_a_refused_login_burns_nothing_is_told_loudly_and_ends_the_run(
    core: Core, clock: MovedClock, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        queue(core, f"{number}@example.org")
    clock.move(seconds=30)
    core.transport = with_password(server, "a wrong horse")
    with caplog.at_level(logging.ERROR):
        assert deliver(core) == 0
    assert server.commands.count("AUTH") == 1
    first, *others = outbox_rows(core)
    assert (first.status, first.attempts, first.lease_owner) == ("due", 0, None)
    assert first.next_attempt_at == clock.now() + timedelta(minutes=1)
    # It was due for half a minute and waits for another one.
    assert first.give_up_at == first.created_at + timedelta(hours=48, seconds=90)
    assert "LoginRefused: AUTH was answered with 535" in str(first.last_error)
    assert {(mail.status, mail.attempts, mail.last_error) for mail in others} == {("due", 0, None)}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "refused the login" in caplog.text
    assert "a wrong horse" not in caplog.text


def test_r08_a_login_refused_for_a_week_loses_no_mail(
    core: Core, clock: MovedClock, server: MailServer
) -> None:
    for number in range(3):
        queue(core, f"{number}@example.org")
    for _ in range(7 * 24):
        core.transport = with_password(server, "a wrong horse")
        assert deliver(core) == 0
        clock.move(hours=1)
    assert {(mail.status, mail.attempts) for mail in outbox_rows(core)} == {("due", 0)}
    # Now each meets a server that is busy: there are two days left to try.
    core.transport = with_password(server, LOGIN[1])
    server.answers["RCPT"] = ["450 busy"] * 3
    assert deliver(core) == 0
    assert {(mail.status, mail.attempts) for mail in outbox_rows(core)} == {("due", 1)}
    clock.move(minutes=2)
    assert deliver(core) == 3
    assert Counter(mail.status for mail in outbox_rows(core)) == {"sent": 3}


def test_a_refused_login_is_not_repeated_by_whatever_wakes_the_worker_next(
    core: Core, server: MailServer
) -> None:
    core.transport = with_password(server, "a wrong horse")
    for number in range(5):
        queue(core, f"{number}@example.org")
        assert deliver(core) == 0
    assert server.commands.count("AUTH") == 1
    assert {(mail.status, mail.attempts) for mail in outbox_rows(core)} == {("due", 0)}


def test_a_worker_that_lost_its_lease_puts_nothing_back(
    core: Core, clock: MovedClock, server: MailServer
) -> None:
    queue(core)

    class Slow(SmtpTransport):
        def send(self, message):
            clock.move(minutes=6)
            core.transport = with_password(server, LOGIN[1])
            assert deliver(core, "quicker") == 1
            return super().send(message)

    core.transport = Slow(
        "127.0.0.1",
        server.port,
        security="none",
        sender="no-reply@example.org",
        greeting="x",
        username=LOGIN[0],
        password="a wrong horse",
    )
    assert deliver(core, "slow") == 0
    assert (the_mail(core).status, the_mail(core).attempts) == ("sent", 2)


# -- what is kept


def test_a23_what_is_kept_of_a_refusal_is_short_and_holds_neither_the_address_nor_the_password(
    core: Core, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    queue(core)
    server.answers["RCPT"] = [f"550 <{EMAIL}> {LOGIN[1]} " + "x" * 350]
    core.transport = with_password(server, LOGIN[1])
    deliver(core)
    error = str(the_mail(core).last_error)
    assert "<a***@example.org> ***" in error
    assert len(error) <= 500
    assert EMAIL not in error
    assert LOGIN[1] not in error + caplog.text


def test_several_threads_deliver_through_one_transport(core: Core, server: MailServer) -> None:
    core.transport = with_password(server, LOGIN[1])
    for number in range(20):
        queue(core, f"{number}@example.org")
    threads = [
        threading.Thread(target=lambda n=n: delivery.deliver_due(core, owner=f"worker {n}")) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(mail.recipients[0] for mail in server.received) == {
        f"{n}@example.org": 1 for n in range(20)
    }
    assert Counter(mail.status for mail in outbox_rows(core)) == {"sent": 20}
