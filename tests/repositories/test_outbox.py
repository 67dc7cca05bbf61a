"""The outbox: a mail is with one worker at a time, and a worker that lost it cannot close it."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tests.conftest import Make
from tests.factories import outbox_rows
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.repositories.outbox import OutboxMail
from usersvc.security.secrets import new_id

LEASE = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)


def _queued(core: Core, address: str = "ada@example.org", **values: object) -> OutboxMail:
    now = core.clock.now()
    mail_id = new_id(now)
    row: dict[str, object] = {
        "id": mail_id,
        "kind": "already_registered",
        "user_id": None,
        "address": address,
        "link_token_id": None,
        "data": {"n": 1},
        "message_id": f"<{mail_id}@example.org>",
        "status": "due",
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
        "give_up_at": now + timedelta(hours=48),
    }
    mail = OutboxMail(**row | values)  # type: ignore[arg-type]
    with core.write() as tx:
        tx.outbox.insert(mail)
    return mail


def _claim(core: Core, owner: str = "worker-1") -> OutboxMail | None:
    with core.write(wait=60) as tx:
        return tx.outbox.claim_next(owner, at=tx.now, lease_until=tx.now + LEASE)


def _there_is_mail(core: Core) -> bool:
    with core.read() as tx:
        return tx.outbox.there_is_mail(tx.now)


def _stored(core: Core, mail: OutboxMail) -> tuple[object, ...]:
    [found] = [row for row in outbox_rows(core) if row.id == mail.id]
    return (
        found.status,
        found.attempts,
        found.lease_owner,
        found.lease_until,
        found.last_error,
        found.sent_at,
    )


def test_a_mail_is_claimed_by_one_of_many_workers(make_core: Make, core: Core) -> None:
    """In threads, and through two databases as from two processes."""
    mails = [_queued(core, f"{number}@example.org") for number in range(3)]
    cores = [core, make_core()]
    together = threading.Barrier(8, timeout=60)
    claimed: list[OutboxMail | None] = []

    def claim(number: int) -> None:
        together.wait()
        claimed.append(_claim(cores[number % 2], f"worker-{number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [mail for mail in claimed if mail]
    assert sorted(mail.id for mail in got) == sorted(mail.id for mail in mails)
    assert len({mail.lease_owner for mail in got}) == 3
    assert {mail.attempts for mail in got} == {1}


def test_a_claimed_mail_carries_its_lease(core: Core) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    assert (claimed.id, claimed.data, claimed.attempts) == (mail.id, {"n": 1}, 1)
    assert (claimed.lease_owner, claimed.lease_until) == ("worker-1", core.clock.now() + LEASE)
    assert not _there_is_mail(core)


def test_what_is_due_longest_goes_first_and_what_is_not_due_waits(core: Core, clock: MovedClock) -> None:
    now = clock.now()
    later = _queued(core, next_attempt_at=now + MINUTE)
    second = _queued(core, next_attempt_at=now - MINUTE)
    first = _queued(core, next_attempt_at=now - 2 * MINUTE)
    claimed = [_claim(core), _claim(core)]
    assert [mail and mail.id for mail in claimed] == [first.id, second.id]
    assert _claim(core) is None
    assert not _there_is_mail(core)
    clock.move(minutes=1)
    assert _there_is_mail(core)
    found = _claim(core)
    assert found
    assert found.id == later.id


@pytest.mark.parametrize("status", ["sent", "dead", "failed", "dropped"])
def test_what_is_done_is_not_claimed(core: Core, status: str) -> None:
    _queued(core, status=status)
    assert not _there_is_mail(core)
    assert _claim(core) is None


def test_r09_a_mail_whose_lease_is_over_goes_to_the_next_worker(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    assert _claim(core, "dead")
    clock.move(minutes=5, microseconds=-1)
    assert _claim(core, "next") is None
    clock.move(microseconds=1)
    assert _there_is_mail(core)
    claimed = _claim(core, "next")
    assert claimed
    assert (claimed.id, claimed.lease_owner, claimed.attempts) == (mail.id, "next", 2)


def test_who_lost_the_lease_closes_nothing(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    slow = _claim(core, "slow")
    clock.move(minutes=6)
    quick = _claim(core, "quick")
    assert slow
    assert quick
    before = _stored(core, mail)
    with core.write() as tx:
        assert not tx.outbox.settle(slow, "failed", at=tx.now, error="late")
        assert not tx.outbox.retry(slow, next_attempt_at=tx.now, error="late")
        assert not tx.outbox.put_back(slow, next_attempt_at=tx.now, give_up_at=tx.now, error="late")
    assert _stored(core, mail) == before
    with core.write() as tx:
        assert tx.outbox.settle(quick, "sent", at=tx.now)
        assert not tx.outbox.settle(quick, "failed", at=tx.now)
    assert _stored(core, mail)[0] == "sent"


def test_a_worker_that_claimed_again_under_its_own_name_closes_only_its_last_claim(
    core: Core, clock: MovedClock
) -> None:
    _queued(core)
    first = _claim(core)
    clock.move(minutes=6)
    second = _claim(core)
    assert first
    assert second
    with core.write() as tx:
        assert not tx.outbox.settle(first, "sent", at=tx.now)
        assert tx.outbox.settle(second, "sent", at=tx.now)


def test_who_is_late_but_alone_still_closes_its_mail(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    clock.move(minutes=6)
    with core.write() as tx:
        assert tx.outbox.settle(claimed, "sent", at=tx.now)
    assert _stored(core, mail)[0] == "sent"
    assert not _there_is_mail(core)


def test_a_sent_mail_keeps_when_and_is_free_of_its_lease(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    with core.write() as tx:
        tx.outbox.settle(claimed, "sent", at=tx.now)
    status, attempts, owner, until, error, sent_at = _stored(core, mail)
    assert (status, attempts, owner, until, error) == ("sent", 1, None, None, None)
    assert sent_at == clock.now()


def test_a_mail_that_failed_keeps_why_and_was_not_sent(core: Core) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    with core.write() as tx:
        tx.outbox.settle(claimed, "failed", at=tx.now, error="550 no such user")
    assert _stored(core, mail) == ("failed", 1, None, None, "550 no such user", None)


def test_a_mail_to_be_retried_is_due_when_its_pause_is_over(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    with core.write() as tx:
        assert tx.outbox.retry(claimed, next_attempt_at=tx.now + MINUTE, error="421 try later")
    assert _stored(core, mail) == ("due", 1, None, None, "421 try later", None)
    assert _claim(core) is None
    clock.move(minutes=1)
    again = _claim(core)
    assert again
    assert again.attempts == 2


def test_a_mail_that_is_put_back_was_not_tried_and_waits_as_long_again(core: Core, clock: MovedClock) -> None:
    mail = _queued(core)
    claimed = _claim(core)
    assert claimed
    give_up_at = claimed.give_up_at + MINUTE
    with core.write() as tx:
        assert tx.outbox.put_back(
            claimed, next_attempt_at=tx.now + MINUTE, give_up_at=give_up_at, error="535 wrong password"
        )
    assert _stored(core, mail) == ("due", 0, None, None, "535 wrong password", None)
    assert _claim(core) is None
    clock.move(minutes=1)
    again = _claim(core)
    assert again
    assert (again.attempts, again.give_up_at) == (1, give_up_at)


def test_two_mails_never_share_a_message_id(core: Core) -> None:
    mail = _queued(core)
    with pytest.raises(IntegrityError):
        _queued(core, message_id=mail.message_id)


def test_purging_takes_sent_and_dropped_mails_up_to_the_limit_and_leaves_what_failed(core: Core) -> None:
    now = core.clock.now()
    old, before = now - timedelta(days=8), now - timedelta(days=7)
    for status in ("sent", "sent", "dropped"):
        _queued(core, status=status, created_at=old)
    kept = [_queued(core, status=status, created_at=old) for status in ("due", "dead", "failed")]
    kept += [_queued(core, status="sent"), _queued(core, status="sent", created_at=before)]
    with core.write() as tx:
        assert tx.outbox.count_done_before(before) == 3
        assert tx.outbox.delete_done_before(before, limit=2) == 2
    with core.write() as tx:
        assert tx.outbox.delete_done_before(before, limit=2) == 1
        assert tx.outbox.delete_done_before(before, limit=2) == 0
    assert {mail.id for mail in outbox_rows(core)} == {mail.id for mail in kept}
