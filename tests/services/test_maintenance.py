import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, text

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    PASSWORD,
    STRANGER,
    active,
    audit_rows,
    delivered,
    logged_in,
    outbox_rows,
    pending,
    rewrite_user,
    together,
    user_row,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db.models import outbox, sessions, throttle, users
from usersvc.errors import InvalidCredentials
from usersvc.mail.transports import FileTransport
from usersvc.repositories.jobs import Job
from usersvc.services import delivery, maintenance, registration
from usersvc.services.actor import Actor
from usersvc.services.checks import database as database_check
from usersvc.services.checks.finding import State
from usersvc.services.login import log_in
from usersvc.services.sessions import log_out, refresh

JOB = Actor.job("purge_expired")
A_MOMENT = timedelta(microseconds=1)
SLOT = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def purge(core: Core, **more: object) -> dict[str, int]:
    """What was purged, without the kinds of which nothing was."""
    counts = maintenance.purge(core, actor=JOB, **more)
    return {kind: count for kind, count in counts.items() if count}


def rows(core: Core, table: str) -> int:
    with core.read() as tx:
        return int(tx.connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def dump(core: Core) -> list[list[tuple[object, ...]]]:
    tables = ("users", "sessions", "link_tokens", "outbox", "throttle", "audit", "jobs")
    with core.read() as tx:
        return [
            sorted(map(tuple, tx.connection.execute(text(f"SELECT * FROM {t}").columns())), key=repr)
            for t in tables
        ]


def the_job(core: Core) -> Job:
    with core.read() as tx:
        job = tx.jobs.by_name(maintenance.JOB)
    assert job
    return job


def quiet(core: Core) -> None:
    """Take away what registering leaves beside the account, so that a test sees one kind alone."""
    delivered(core)
    with core.write() as tx:
        for table in ("outbox", "throttle", "link_tokens", "logins_from", "audit"):
            tx.connection.execute(text(f"DELETE FROM {table}"))


def just_before_and_at(clock: MovedClock, core: Core, boundary: datetime) -> list[dict[str, int]]:
    """What a dry run finds a moment before the boundary, and at it."""
    found = []
    for at in (boundary - A_MOMENT, boundary):
        clock.at = at
        found.append(purge(core, dry_run=True))
    return found


# -- each kind at its boundary


def test_a_link_goes_when_it_expires(core: Core, clock: MovedClock) -> None:
    began = clock.now()
    pending(core)
    with core.write() as tx:
        tx.connection.execute(text("DELETE FROM throttle"))
    before, at = just_before_and_at(clock, core, began + timedelta(hours=24))
    assert (before, at) == ({}, {"links": 1})
    assert purge(core) == {"links": 1}
    assert rows(core, "link_tokens") == 0


def test_a_living_link_survives_and_works(core: Core, clock: MovedClock) -> None:
    link = pending(core)
    clock.move(hours=23)
    purge(core)
    assert registration.activate(core, token=link, actor=STRANGER).status == "active"


@pytest.mark.parametrize("way", ["used", "replaced"])
def test_a_link_that_is_spent_goes_at_once(core: Core, clock: MovedClock, way: str) -> None:
    link = pending(core)
    clock.move(minutes=2)
    if way == "used":
        registration.activate(core, token=link, actor=STRANGER)
    else:
        registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    assert purge(core)["links"] == 1
    assert rows(core, "link_tokens") == (0 if way == "used" else 1)


def test_an_ended_session_goes_after_its_days(core: Core, clock: MovedClock) -> None:
    active(core)
    log_out(core, refresh_token=logged_in(core).refresh_token, actor=STRANGER)
    quiet(core)
    boundary = clock.now() + timedelta(days=30) + A_MOMENT
    before, at = just_before_and_at(clock, core, boundary)
    assert (before, at) == ({}, {"sessions": 1})
    assert purge(core) == {"sessions": 1}
    assert rows(core, "sessions") == 0


def test_an_expired_session_goes_after_its_days(core: Core, clock: MovedClock) -> None:
    active(core)
    logged_in(core)
    quiet(core)
    before, at = just_before_and_at(clock, core, clock.now() + timedelta(days=14 + 30) + A_MOMENT)
    assert (before, at) == ({}, {"sessions": 1})


def test_a_session_in_use_survives(make_core: Make, clock: MovedClock) -> None:
    core = make_core(retention__sessions_days=0)
    active(core)
    pair = logged_in(core)
    for _ in range(5):
        clock.move(days=5)
        pair = refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
        assert "sessions" not in purge(core)
    assert refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)


def test_an_account_that_was_never_activated_goes_after_its_days(core: Core, clock: MovedClock) -> None:
    began = clock.now()
    pending(core)
    quiet(core)
    before, at = just_before_and_at(clock, core, began + timedelta(days=7) + A_MOMENT)
    assert (before, at) == ({}, {"pending_accounts": 1})
    assert purge(core) == {"pending_accounts": 1}
    assert rows(core, "users") == 0
    clock.move(hours=2)
    assert active(core).status == "active"


def test_registering_again_gives_a_pending_account_its_days_again(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(days=6)
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    began = clock.now()
    quiet(core)
    before, at = just_before_and_at(clock, core, began + timedelta(days=7) + A_MOMENT)
    assert (before, at) == ({}, {"pending_accounts": 1})


def test_a_pending_account_whose_link_lives_survives(make_core: Make, clock: MovedClock) -> None:
    core = make_core(retention__pending_days=1, registration__activation_hours=72)
    link = pending(core)
    clock.move(days=2)
    assert "pending_accounts" not in purge(core)
    assert registration.activate(core, token=link, actor=STRANGER).status == "active"


@pytest.mark.parametrize("status", ["active", "deactivated", "invited"])
def test_no_account_but_a_pending_one_is_ever_purged(core: Core, clock: MovedClock, status: str) -> None:
    pending(core)
    # Invitations and deactivating are not written yet; activating is, but this one has every mark of a
    # pending account except its status.
    rewrite_user(core, status=status)
    clock.move(days=4000)
    purge(core)
    assert user_row(core).status == status


def test_an_account_that_is_activated_while_it_is_purged_survives(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(days=8)
    rewrite_user(core, status="active", activated_at=clock.now())  # its link has long expired
    with core.write() as tx:
        assert tx.users.delete_abandoned(clock.now(), at=clock.now(), limit=10) == []
    assert user_row(core).status == "active"


def test_a_mail_that_is_done_with_goes_after_its_days(core: Core, clock: MovedClock) -> None:
    began = clock.now()
    active(core)
    with core.write() as tx:
        for table in ("throttle", "link_tokens"):
            tx.connection.execute(text(f"DELETE FROM {table}"))
    before, at = just_before_and_at(clock, core, began + timedelta(days=7) + A_MOMENT)
    assert (before, at) == ({}, {"mails": 1})
    assert purge(core) == {"mails": 1}


@pytest.mark.parametrize(
    ("status", "survives"),
    [("sent", False), ("dropped", False), ("due", True), ("dead", True), ("failed", True)],
)
def test_a_mail_goes_only_when_nobody_has_to_see_it_any_more(
    core: Core, clock: MovedClock, status: str, survives: bool
) -> None:
    active(core)
    with core.write() as tx:
        tx.connection.execute(text("UPDATE outbox SET status = :status"), {"status": status})
    clock.move(days=30)
    purge(core)
    assert len(outbox_rows(core)) == survives


def test_a_count_of_mails_goes_when_its_hour_is_over(core: Core, clock: MovedClock) -> None:
    began = clock.now()
    pending(core)
    before, at = just_before_and_at(clock, core, began + timedelta(hours=1))
    # The count of registrations was over after a minute, that of mails to this network is after a day;
    # now those of mails to the address and of all mails are.
    assert (before, at) == ({"counters": 1}, {"counters": 3})
    assert purge(core) == {"counters": 3}


def test_the_audit_goes_after_its_days(core: Core, clock: MovedClock) -> None:
    with core.write() as tx:
        tx.connection.execute(text("DELETE FROM audit"))
        tx.audit(STRANGER, "test.happened")
    before, at = just_before_and_at(clock, core, clock.now() + timedelta(days=400) + A_MOMENT)
    assert (before, at) == ({}, {"audit_entries": 1})
    assert purge(core) == {"audit_entries": 1}
    assert [entry.action for entry in audit_rows(core, "data.purged")] == ["data.purged"]


@pytest.mark.parametrize(
    ("setting", "kind", "days"),
    [
        ("retention__pending_days", "pending_accounts", 3),
        ("retention__outbox_days", "mails", 3),
        ("retention__audit_days", "audit_entries", 3),
    ],
)
def test_how_long_things_stay_is_a_setting(
    make_core: Make, clock: MovedClock, setting: str, kind: str, days: int
) -> None:
    core = make_core(**{setting: days})
    with core.write() as tx:
        tx.connection.execute(text("DELETE FROM audit"))
    pending(core)
    clock.move(days=days)
    assert kind not in purge(core, dry_run=True)
    clock.move(seconds=10)
    assert kind in purge(core, dry_run=True)


def test_the_audit_of_a_purged_account_stays(core: Core, clock: MovedClock) -> None:
    pending(core)
    user_id = user_row(core).id
    clock.move(days=8)
    purge(core)
    assert rows(core, "users") == 0
    assert [entry.target_id for entry in audit_rows(core, "user.registered")] == [user_id]


# -- how it is done


def test_a_dry_run_counts_and_changes_nothing(core: Core, clock: MovedClock) -> None:
    pending(core)
    active(core, "b@example.org")
    log_out(core, refresh_token=logged_in(core, "b@example.org").refresh_token, actor=STRANGER)
    clock.move(days=401)
    before = dump(core)
    counts = maintenance.purge(core, actor=JOB, dry_run=True)
    assert dump(core) == before
    assert all(counts[kind] for kind in ("links", "sessions", "pending_accounts", "mails", "audit_entries"))
    assert maintenance.last_slot(core) is None
    done = maintenance.purge(core, actor=JOB)
    assert {kind: done[kind] for kind in counts} == counts
    assert purge(core) == {}


def _fill(core: Core, many: int) -> None:
    """Old rows of every kind."""
    long_ago = core.clock.now() - timedelta(days=1000)
    active(core)
    owner = user_row(core)
    abandoned = {**vars(owner), "status": "pending", "username": None, "activated_at": None}
    abandoned |= {"registered_at": long_ago, "password_hash": None}
    session = {
        "user_id": owner.id,
        "seq": 1,
        "rnd_digest": b"\0" * 32,
        "rotated_at": long_ago,
        "created_at": long_ago,
        "last_used_at": long_ago,
        "expires_at": long_ago,
        "absolute_at": long_ago,
    }
    [mail] = outbox_rows(core)
    done = {**vars(mail), "user_id": None, "link_token_id": None, "created_at": long_ago}
    counter = {
        "kind": "mail x",
        "count": 1,
        "level": 0,
        "window_started_at": long_ago,
        "expires_at": long_ago,
    }
    with core.write() as tx:
        tx.connection.execute(text("DELETE FROM audit"))
        for number in range(many):
            run = tx.connection.execute
            address = f"{number}@example.org"
            run(insert(users).values({**abandoned, "id": uuid4(), "email": address, "email_key": address}))
            run(insert(sessions).values({**session, "id": uuid4()}))
            run(insert(outbox).values({**done, "id": uuid4(), "message_id": f"<{number}@x>"}))
            run(insert(throttle).values({**counter, "key_digest": number.to_bytes(32)}))
            tx.now = long_ago
            tx.audit(STRANGER, "test.happened")


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_r31_everything_goes_in_batches_of_their_own_transactions(
    core: Core, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(maintenance, "BATCH", batch)
    monkeypatch.setattr(maintenance, "PAUSE_SECONDS", 0)
    _fill(core, 7)
    heard: dict[str, list[int]] = {}
    counts = purge(core, progress=lambda kind, deleted: heard.setdefault(kind, []).append(deleted))
    kinds = ("sessions", "pending_accounts", "mails", "counters", "audit_entries")
    assert counts == dict.fromkeys(kinds, 7) | {"links": 1}
    for kind in kinds:
        assert sum(heard[kind]) == 7
        assert max(heard[kind]) == min(batch, 7)
    assert user_row(core).status == "active"
    assert rows(core, "users") == 1


def test_a_purge_that_is_stopped_has_done_what_it_said(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 3)
    _fill(core, 7)

    def stop(kind: str, _deleted: int) -> None:
        if kind == "sessions":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge(core, progress=stop)
    assert rows(core, "sessions") == 4
    assert rows(core, "outbox") == 8
    assert purge(core)["sessions"] == 4


@pytest.mark.sqlite
def test_the_write_ahead_log_does_not_grow_with_what_is_purged(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 10)
    monkeypatch.setattr(maintenance, "LOG_BYTES", 64 * 1024)
    monkeypatch.setattr(maintenance, "PAUSE_SECONDS", 0)
    _fill(core, 200)
    log = core.database.path.with_name("usersvc.db-wal")
    core.database.checkpoint(above_bytes=0)
    assert log.stat().st_size == 0
    seen = []
    purge(core, progress=lambda *_: seen.append(log.stat().st_size))
    # One batch is added before it is looked at again.
    assert max(seen) < 64 * 1024 * 3


@pytest.mark.sqlite
def test_r14_a_checkpoint_gives_way_to_a_writer_and_to_a_reader(core: Core) -> None:
    _fill(core, 20)
    log = core.database.path.with_name("usersvc.db-wal")
    with core.write():
        core.database.checkpoint(above_bytes=0)
        assert log.stat().st_size > 0
    with core.read() as tx:
        assert tx.users.by_email_key("nobody") is None
        with core.write() as another:
            another.audit(STRANGER, "test.happened")
        core.database.checkpoint(above_bytes=0)
        assert log.stat().st_size > 0
    core.database.checkpoint(above_bytes=0)
    assert log.stat().st_size == 0
    assert len(audit_rows(core, "test.happened")) == 21


@pytest.mark.sqlite
def test_r14_what_a_long_reader_holds_back_is_told_and_gone_when_it_ends(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_check, "_LONG_LOG", 256 * 1024)

    def write(times: int) -> None:
        for _ in range(times):
            with core.write() as tx:
                tx.audit(STRANGER, "test.happened")

    with core.read() as tx:
        before = tx.audit_entries.latest()
        write(150)
        once = core.database.log_bytes
        assert database_check.there(core).state is State.WARNING
        purge(core)
        assert core.database.log_bytes >= once, "the reader may still need it"
        assert tx.audit_entries.latest() == before, "it sees what there was when it began"
    core.database.checkpoint(above_bytes=0)
    assert core.database.log_bytes == 0
    assert database_check.there(core).state is State.OK
    write(300)
    # SQLite by itself begins the log anew, after a thousand pages.
    assert core.database.log_bytes < 1100 * 4120
    assert len(audit_rows(core, "test.happened")) == 450


@pytest.mark.sqlite
def test_r31_what_comes_and_goes_leaves_the_file_as_large_as_it_was(
    make_core: Make, clock: MovedClock
) -> None:
    core = make_core(retention__audit_days=30)
    sizes = []
    for round_ in range(6):
        active(core, f"lives{round_}@example.org")
        for number in range(12):
            email = f"gone{round_}n{number}@example.org"
            someone = Actor("anonymous", ip=f"198.51.{round_}.{number}")
            registration.register(core, email=email, password=PASSWORD, actor=someone)
            with pytest.raises(InvalidCredentials):
                log_in(core, email=email, password=PASSWORD, actor=someone)
        for _ in range(6):
            logged_in(core, f"lives{round_}@example.org")
        delivered(core)
        clock.move(days=100)
        maintenance.purge(core, actor=JOB)
        core.database.checkpoint(above_bytes=0)
        assert [rows(core, table) for table in ("sessions", "link_tokens", "outbox", "throttle")] == [0] * 4
        assert rows(core, "logins_from") == 0
        assert rows(core, "users") == round_ + 1
        sizes.append(core.database.path.stat().st_size)
    assert sizes[5] <= sizes[2] * 1.1


def test_a68_counts_are_kept_and_the_purge_is_one_audit_entry(core: Core, clock: MovedClock) -> None:
    pending(core)
    clock.move(days=8)
    counts = maintenance.purge(core, actor=JOB)
    job = the_job(core)
    assert (job.finished_at, job.counts) == (clock.now(), counts)
    [entry] = audit_rows(core, "data.purged")
    assert (entry.actor_kind, entry.actor_name) == ("job", "purge_expired")
    assert entry.detail == {"counts": counts}
    assert counts["pending_accounts"] == counts["links"] == 1


# -- once a slot


def test_r32_one_of_several_workers_has_the_slot(make_core: Make, clock: MovedClock) -> None:
    # Two cores on one file are what two processes are.
    cores = [make_core(), make_core()]
    answers = together(*(partial(maintenance.purge_slot, cores[n % 2], SLOT, actor=JOB) for n in range(8)))
    assert sum(answer is not None for answer in answers) == 1
    assert len(audit_rows(cores[0], "data.purged")) == 1
    assert maintenance.last_slot(cores[0]) == SLOT


def test_r32_a_slot_is_run_once_and_never_after_a_later_one(core: Core) -> None:
    slots = (SLOT, SLOT, SLOT - timedelta(hours=1), SLOT + timedelta(hours=1), SLOT)
    ran = [maintenance.purge_slot(core, slot, actor=JOB) is not None for slot in slots]
    assert ran == [True, False, False, True, False]
    assert maintenance.last_slot(core) == SLOT + timedelta(hours=1)


def test_before_the_first_purge_there_is_no_slot(core: Core) -> None:
    assert maintenance.last_slot(core) is None
    maintenance.purge(core, actor=JOB)
    assert maintenance.last_slot(core) is None
    assert maintenance.purge_slot(core, SLOT, actor=JOB) is not None


# -- files of mail


@pytest.mark.parametrize(
    ("age", "survives"), [(timedelta(days=7), True), (timedelta(days=7, seconds=2), False)]
)
def test_a_mail_file_goes_after_its_days(
    core: Core, clock: MovedClock, age: timedelta, survives: bool
) -> None:
    core.transport = FileTransport(core.settings.mail_dir)
    pending_mail = _mail_file(core)
    modified = (clock.now() - age).timestamp() + 1
    os.utime(pending_mail, (modified, modified))
    counts = purge(core)
    assert pending_mail.exists() == survives
    assert counts.get("mail_files", 0) == (not survives)


def test_what_else_lies_beside_the_mail_files_stays(core: Core) -> None:
    core.transport = FileTransport(core.settings.mail_dir)
    other = _mail_file(core).with_name("notes.txt")
    other.write_text("mine")
    os.utime(other, (0, 0))
    purge(core)
    assert other.exists()


def test_where_no_mail_was_ever_written_there_is_none_to_purge(core: Core) -> None:
    core.transport = FileTransport(core.settings.mail_dir)
    assert maintenance.purge(core, actor=JOB)["mail_files"] == 0


def _mail_file(core: Core) -> Path:
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    delivery.deliver_due(core, owner="test")
    [path] = core.settings.mail_dir.iterdir()
    return path
