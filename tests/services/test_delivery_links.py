"""Links in mails: made when the mail is sent, and only while they live."""

import base64
import sqlite3
from contextlib import closing

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    STRANGER,
    delivered,
    outbox_rows,
    pending,
    text_of,
    token_in,
)
from tests.outbox import deliver, registered, the_mail
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.services import registration


@pytest.mark.sqlite
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
