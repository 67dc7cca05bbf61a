"""Mail out of the outbox: sent once, in order, and requests resolved on the way."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    STRANGER,
    active,
    delivered,
    outbox_rows,
    pending,
    rewrite_user,
    token_in,
)
from tests.outbox import deliver, queue, registered, the_mail
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.transports import FileTransport, MemoryTransport
from usersvc.services import delivery, registration

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


@pytest.mark.sqlite
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
