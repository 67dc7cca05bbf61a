import base64
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    delivered,
    outbox_rows,
    pending,
    rewrite_user,
    text_of,
    together,
    token_in,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.transports import FileTransport, MemoryTransport
from usersvc.repositories.outbox import OutboxMail
from usersvc.services import _mails, delivery, registration


class Killed(BaseException):
    """What a worker does not come back from."""


class Scripted(MemoryTransport):
    """Keeps what it is given and does the next thing of its script; sends when that has ended."""

    def __init__(self, *script: BaseException | None) -> None:
        super().__init__()
        self.script = list(script)

    def send(self, message: EmailMessage) -> str:
        super().send(message)
        if self.script and (error := self.script.pop(0)):
            raise error
        return "memory"


def queue(core: Core, address: str = EMAIL, kind: str = "already_registered", **data: Any) -> None:
    """A mail in the outbox, without the hashing of a registration."""
    with core.write() as tx:
        _mails.queue_mail(core, tx, kind, address=address, data=data)


def the_mail(core: Core) -> OutboxMail:
    [mail] = outbox_rows(core)
    return mail


def deliver(core: Core, owner: str = "test") -> int:
    return delivery.deliver_due(core, owner=owner)


def registered(core: Core) -> None:
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)


# -- sent


def test_a_mail_is_sent_once_and_noted(core: Core, clock: MovedClock) -> None:
    queue(core)
    queued_at = clock.now()
    clock.move(seconds=10)
    assert deliver(core) == 1
    assert deliver(core) == 0
    mail = the_mail(core)
    assert (mail.status, mail.attempts, mail.sent_at) == ("sent", 1, clock.now())
    assert (mail.lease_owner, mail.lease_until, mail.last_error) == (None, None, None)
    [message] = core.transport.sent
    assert message["Message-ID"] == mail.message_id
    assert message["Date"].datetime == queued_at.replace(microsecond=0)
    assert message["To"] == EMAIL


def test_nothing_due_is_nothing_sent_and_nothing_written(core: Core) -> None:
    path = core.database.path
    with core.write() as tx:
        before = tx.connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    assert deliver(core) == 0
    with core.write() as tx:
        assert tx.connection.exec_driver_sql("SELECT total_changes()").scalar_one() == before
    assert path.exists()


def test_mails_go_out_in_the_order_in_which_they_became_due(core: Core, clock: MovedClock) -> None:
    for number in (3, 1, 2):
        queue(core, f"{number}@example.org")
        clock.move(seconds=1)
    deliver(core)
    assert [m["To"] for m in core.transport.sent] == [f"{n}@example.org" for n in (3, 1, 2)]


def test_a_stopping_worker_begins_no_further_mail(core: Core) -> None:
    for number in range(3):
        queue(core, f"{number}@example.org")
    assert isinstance(core.transport, MemoryTransport)
    sent = core.transport.sent
    assert delivery.deliver_due(core, owner="test", stopping=lambda: len(sent) == 1) == 1
    assert Counter(mail.status for mail in outbox_rows(core)) == {"sent": 1, "due": 2}


def test_a_message_id_belongs_to_one_mail_and_names_the_public_host(make_core: Make) -> None:
    core = make_core(server__public_url="https://users.example.org:8443/accounts")
    queue(core)
    queue(core)
    first, second = outbox_rows(core)
    assert first.message_id != second.message_id
    assert first.message_id == f"<{first.id}.already_registered@users.example.org>"


# -- links


def test_a22_a_link_stands_nowhere_in_the_database(core: Core) -> None:
    registered(core)
    [message] = delivered(core)
    token = token_in(message)
    raw = base64.urlsafe_b64decode(token + "=")
    forms = [
        token.encode(),
        token.encode().hex().encode(),
        raw,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        base64.b64encode(raw).rstrip(b"="),
    ]
    with closing(sqlite3.connect(core.database.path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [
            value if isinstance(value, bytes) else str(value).encode()
            for table in tables
            for row in database.execute(f"SELECT * FROM {table}")
            for value in row
        ]
    assert {"users", "outbox", "link_tokens", "audit", "keys", "throttle"} <= set(tables)
    files = [path.read_bytes() for path in core.settings.data_dir.rglob("*") if path.is_file()]
    assert any(EMAIL.encode() in stored for stored in files), "this looks in the wrong place"
    for form in forms:
        assert not any(form in value for value in values)
        assert not any(form in stored for stored in files)
    assert registration.activate(core, token=token, actor=STRANGER).status == "active"


def test_a_link_that_a_newer_one_replaced_is_dropped(core: Core, clock: MovedClock) -> None:
    registered(core)
    clock.move(minutes=2)
    registered(core)
    [message] = delivered(core)
    assert [mail.status for mail in outbox_rows(core)] == ["dropped", "sent"]
    assert registration.activate(core, token=token_in(message), actor=STRANGER).status == "active"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE link_tokens SET used_at = created_at",
        "UPDATE link_tokens SET revoked_at = created_at",
        "DELETE FROM link_tokens",
    ],
)
def test_a_dead_link_is_dropped(core: Core, change: str) -> None:
    registered(core)
    with core.write() as tx:
        tx.connection.exec_driver_sql(change)
    assert delivered(core) == []
    mail = the_mail(core)
    assert (mail.status, mail.sent_at, mail.lease_owner) == ("dropped", None, None)


@pytest.mark.parametrize(("seconds_left", "status"), [(1, "sent"), (0, "dropped")])
def test_r10_a_link_that_expired_on_the_way_is_dropped(
    core: Core, clock: MovedClock, seconds_left: int, status: str
) -> None:
    registered(core)
    clock.move(hours=24, seconds=-seconds_left)
    deliver(core)
    assert the_mail(core).status == status


def test_a_mail_to_an_account_that_was_deleted_is_gone_with_it(core: Core) -> None:
    registered(core)
    with core.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM users")
    assert deliver(core) == 0
    assert outbox_rows(core) == []


def test_a_link_whose_key_is_gone_is_dropped(core: Core) -> None:
    registered(core)
    with core.write() as tx:
        # Rotation and loss of keys are not written yet.
        tx.connection.exec_driver_sql(
            "UPDATE link_tokens SET key_id = (SELECT kid FROM keys WHERE use = 'throttle')"
        )
    assert deliver(core) == 0
    assert the_mail(core).status == "dropped"


@pytest.mark.parametrize(
    ("setting", "beginning", "end"),
    [
        ("https://app.example.org/activate#{token}", "https://app.example.org/activate#", ""),
        ("https://app.example.org/a?t={token}&x=1", "https://app.example.org/a?t=", "&x=1"),
    ],
)
def test_links_lead_where_the_setting_says(make_core: Make, setting: str, beginning: str, end: str) -> None:
    core = make_core(mail__activate_link=setting)
    registered(core)
    [message] = delivered(core)
    text = text_of(message)
    [line] = [line for line in text.splitlines() if line.startswith(beginning)]
    token = line.removeprefix(beginning).removesuffix(end)
    assert registration.activate(core, token=token, actor=STRANGER).status == "active"


def test_a06_mail_goes_to_the_stored_address_whatever_was_typed(core: Core, clock: MovedClock) -> None:
    pending(core, "Ada@example.org")
    clock.move(minutes=2)
    registration.resend_activation(core, email="aDA@EXAMPLE.ORG", actor=STRANGER)
    [message] = delivered(core)
    assert message["To"] == "Ada@example.org"


# -- requests, resolved by the job


def test_a_request_is_resolved_in_the_same_run(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(minutes=2)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    assert deliver(core) == 1
    assert [mail.kind for mail in outbox_rows(core)] == ["activation", "resend_activation", "activation"]
    assert {mail.status for mail in outbox_rows(core)} == {"sent"}


def test_a_request_looks_at_the_account_as_it_is_when_it_is_resolved(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(minutes=2)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    assert delivered(core) == []
    assert outbox_rows(core)[-1].status == "dropped"


def test_many_requests_make_one_mail_within_the_pause(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(minutes=2)
    for _ in range(10):
        registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    [message] = delivered(core)
    assert registration.activate(core, token=token_in(message), actor=STRANGER).status == "active"


# -- killed on the way


def test_r04_a_mail_that_a_killed_worker_held_is_sent_again_when_its_lease_is_over(
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


def test_two_workers_at_once_send_each_mail_once(make_core: Make, transport: MemoryTransport) -> None:
    # Two cores on one file are what two processes are; each has two threads.
    cores = [make_core(), make_core()]
    for number in range(40):
        queue(cores[0], f"{number}@example.org")

    class Unhurried(MemoryTransport):
        def send(self, message: EmailMessage) -> str:
            time.sleep(0.002)
            return transport.send(message)

    owners = Counter()
    for core in cores:
        core.transport = Unhurried()

    def work(number: int) -> None:
        owners[number] += delivery.deliver_due(cores[number % 2], owner=f"worker {number}")

    together(*(lambda number=number: work(number) for number in range(4)))
    assert Counter(m["To"] for m in transport.sent) == {f"{n}@example.org": 1 for n in range(40)}
    assert len(outbox_rows(cores[0])) == 40
    assert {(mail.status, mail.attempts) for mail in outbox_rows(cores[0])} == {("sent", 1)}
    assert owners.total() == 40


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


# -- refused on the way


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
def test_r34_a_broken_template_fails_its_mail_after_five_tries_while_others_go_out(
    make_core: Make, clock: MovedClock, tmp_path: Path, template: str
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "already_registered.txt").write_text(template)
    core = make_core(mail__templates_dir=tmp_path / "templates")
    queue(core, "poison@example.org")
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


# -- into files


def test_mail_into_files_is_one_private_file_each(make_core: Make, data_dir: Path) -> None:
    core = make_core()
    core.transport = FileTransport(core.settings.mail_dir)
    registered(core)
    assert deliver(core) == 1
    [path] = (data_dir / "mail").iterdir()
    assert path.name == f"{the_mail(core).id}.activation.eml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    text = path.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("http://127.0.0.1:8000/activate?token=")]
    token = line.partition("token=")[2]
    assert registration.activate(core, token=token, actor=STRANGER).status == "active"


def test_a_known_address_and_an_unknown_one_leave_rows_of_the_same_shape(core: Core) -> None:
    active(core, "known@example.org")
    for email in ("known@example.org", "unknown@example.org"):
        registration.resend_activation(core, email=email, actor=STRANGER)
    known, unknown = outbox_rows(core)[-2:]
    for field in ("kind", "user_id", "link_token_id", "data", "status", "attempts"):
        assert getattr(known, field) == getattr(unknown, field)


def test_an_account_in_use_is_not_asked_to_activate_again(core: Core, clock: MovedClock) -> None:
    registered(core)
    with core.write() as tx:
        # The link was opened from an earlier copy of the same mail.
        tx.connection.exec_driver_sql("UPDATE users SET status = 'active'")
    clock.move(minutes=2)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    assert [mail.kind for mail in outbox_rows(core)] == ["activation", "already_registered"]
