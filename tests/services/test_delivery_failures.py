"""Mail that cannot be sent: tried again, given up in the end, and in nobody else's way."""

from collections import Counter
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    delivered,
    outbox_rows,
    text_of,
    token_in,
)
from tests.outbox import Scripted, deliver, queue, registered, the_mail
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.transports import MemoryTransport


def test_r06_a_mail_that_cannot_be_sent_is_retried_with_growing_pauses_and_then_dead(
    core: Core, clock: MovedClock
) -> None:
    queue(core)
    began = clock.now()
    core.transport = transport = Scripted(*[ConnectionRefusedError(111, "Connection refused")] * 100)
    pauses = []
    while the_mail(core).status == "due":
        assert deliver(core) == 0
        mail = the_mail(core)
        if mail.status == "due":
            pauses.append((mail.next_attempt_at - clock.now()) / timedelta(minutes=1))
            clock.at = mail.next_attempt_at - timedelta(seconds=1)
            assert deliver(core) == 0
            assert the_mail(core).attempts == mail.attempts, "tried again before the pause was over"
            clock.move(seconds=1)
    expected = [1, 5, 15, 60, 180] + [360] * (len(pauses) - 5)
    for pause, about in zip(pauses, expected, strict=True):
        assert 0.9 * about <= pause <= 1.1 * about
    mail = the_mail(core)
    assert (mail.status, mail.sent_at, mail.lease_owner) == ("dead", None, None)
    assert mail.attempts == len(transport.sent) == len(pauses) + 1
    assert "Connection refused" in str(mail.last_error)
    assert timedelta(hours=40) < clock.now() - began <= timedelta(hours=48)
    clock.move(days=3)
    assert deliver(core) == 0
    assert len(transport.sent) == mail.attempts


def test_r09_a_mail_that_was_refused_at_first_goes_out_with_the_same_message_id(
    core: Core, clock: MovedClock
) -> None:
    registered(core)
    core.transport = transport = Scripted(TimeoutError("timed out"))
    assert deliver(core) == 0
    clock.move(minutes=2)
    assert deliver(core) == 1
    first, second = transport.sent
    assert first["Message-ID"] == second["Message-ID"]
    assert token_in(first) == token_in(second)


def test_one_mail_that_is_refused_does_not_hold_up_the_others(core: Core) -> None:
    for number in range(3):
        queue(core, f"{number}@example.org")
    core.transport = Scripted(OSError("450 mailbox busy"))
    assert deliver(core) == 2
    assert Counter(mail.status for mail in outbox_rows(core)) == {"due": 1, "sent": 2}


def test_a23_what_is_kept_of_an_error_holds_no_token_and_no_whole_address(core: Core) -> None:
    registered(core)
    core.transport = Scripted()
    core.clock.move(seconds=1)

    class Talkative(MemoryTransport):
        def send(self, message: EmailMessage) -> str:
            super().send(message)
            raise OSError(f"550 <{message['To']}> {token_in(message)} {text_of(message)} " + "x" * 5000)

    core.transport = Talkative()
    deliver(core)
    error = str(the_mail(core).last_error)
    assert "550" in error
    assert token_in(core.transport.sent[0]) not in error
    assert EMAIL not in error
    assert len(error) <= 500


POISON = {
    "unknown kind": ("no_such_kind", {}),
    "missing data": ("session_ended", {}),
}


@pytest.mark.parametrize("poison", POISON)
def test_r34_a_mail_that_cannot_be_rendered_fails_after_five_tries_while_others_go_out(
    core: Core, clock: MovedClock, poison: str
) -> None:
    kind, data = POISON[poison]
    queue(core, "poison@example.org", kind, **data)
    for number in range(5):
        queue(core, f"{number}@example.org")
        assert deliver(core) == 1
        clock.move(hours=7)
    deliver(core)
    poisoned, *others = outbox_rows(core)
    assert (poisoned.status, poisoned.attempts) == ("failed", 5)
    assert poisoned.last_error
    assert {mail.status for mail in others} == {"sent"}


@pytest.mark.parametrize(
    "template",
    [
        "{{ unknown }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ host + 1 }}",
        "{% for n in range(10000000) %}x{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "",
    ],
    ids=["unknown name", "syntax", "division by zero", "wrong types", "endless", "escape", "empty"],
)
def test_r34_a_broken_template_stops_no_mail_the_built_in_one_takes_its_place(
    make_core: Make, tmp_path: Path, template: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "already_registered.txt").write_text(template)
    core = make_core(mail__templates_dir=tmp_path / "templates")
    for _ in range(3):
        queue(core)
    assert [text_of(message).split()[0] for message in delivered(core)] == ["Hello,"] * 3
    assert {mail.status for mail in outbox_rows(core)} == {"sent"}
    lines = [record.getMessage() for record in caplog.records]
    told = [line for line in lines if "a template has a mistake" in line]
    assert len(told) == 1
    assert f"{tmp_path}/templates/already_registered.txt" in told[0]


def test_r34_a_mail_that_cannot_be_made_fails_after_five_tries_while_others_go_out(
    core: Core, clock: MovedClock
) -> None:
    # As a template does that wants what an older version did not write down.
    queue(core, "poison@example.org", kind="session_ended")
    for _ in range(5):
        queue(core, kind="session_ended", device="x", logged_in_at="y")
        assert deliver(core) == 1
        clock.move(hours=7)
    poisoned, *others = outbox_rows(core)
    assert (poisoned.status, poisoned.attempts) == ("failed", 5)
    assert {mail.status for mail in others} == {"sent"}


def test_an_impossible_address_fails_its_mail_and_no_other(core: Core, clock: MovedClock) -> None:
    # No service lets one in; an older version or an import might have.
    queue(core, "evil\r\nBcc: x@example.org")
    for _ in range(5):
        deliver(core)
        clock.move(hours=7)
    assert (the_mail(core).status, core.transport.sent) == ("failed", [])
