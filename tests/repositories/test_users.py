"""Accounts: what is taken, who gets a wished username, who is abandoned."""

import threading
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from tests.conftest import Make
from tests.factories import EMAIL, active, an_admin, pending
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import UsernameTaken
from usersvc.repositories.users import User
from usersvc.security.secrets import new_id

DAY = timedelta(days=1)


def _new(core: Core, email: str, username: str | None = None, **values: object) -> User:
    now = core.clock.now()
    row: dict[str, object] = {
        "id": new_id(now),
        "email": email,
        "email_key": email,
        "email_verified_at": None,
        "username": username,
        "locale": None,
        "role": "user",
        "status": "pending",
        "password_hash": "a hash",
        "invited_at": None,
        "registered_at": now,
        "activated_at": None,
        "deactivated_at": None,
        "password_changed_at": None,
        "last_login_at": None,
        "created_at": now,
        "updated_at": now,
    }
    return User(**row | values)  # type: ignore[arg-type]


def _inserted(core: Core, email: str, username: str | None = None, **values: object) -> User:
    user = _new(core, email, username, **values)
    with core.write() as tx:
        assert tx.users.insert(user)
    return user


def _again(core: Core, user_id: UUID) -> User | None:
    with core.read() as tx:
        return tx.users.by_id(user_id)


def _emails(core: Core) -> set[str]:
    with core.read() as tx:
        return set(tx.connection.exec_driver_sql("SELECT email_key FROM users").scalars())


def _activate(core: Core, user: User, password_hash: str = "a hash") -> bool:
    with core.write(wait=60) as tx:
        return tx.users.activate(user, email_verified_at=tx.now, password_hash=password_hash, at=tx.now)


# -- insert


def test_a_user_comes_back_as_inserted(core: Core) -> None:
    user = _inserted(core, EMAIL, "ada")
    assert _again(core, user.id) == user
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) == user
        assert tx.users.by_email_key("nobody@example.org") is None


def test_a_taken_address_is_told_and_the_transaction_goes_on(core: Core) -> None:
    first = _inserted(core, EMAIL)
    with core.write() as tx:
        assert tx.users.insert(_new(core, "before@example.org"))
        assert not tx.users.insert(_new(core, EMAIL, password_hash="another"))
        assert tx.users.insert(_new(core, "after@example.org"))
    assert _emails(core) == {EMAIL, "before@example.org", "after@example.org"}
    assert _again(core, first.id) == first


def test_a_taken_username_is_told_and_the_transaction_goes_on(core: Core) -> None:
    now = core.clock.now()
    _inserted(core, EMAIL, "ada", status="active", activated_at=now)
    with core.write() as tx:
        assert tx.users.insert(_new(core, "before@example.org"))
        with pytest.raises(UsernameTaken):
            tx.users.insert(_new(core, "b@example.org", "ada", status="active", activated_at=now))
        assert not tx.users.insert(_new(core, EMAIL))
        assert tx.users.insert(_new(core, "after@example.org", "bob", status="active", activated_at=now))
    assert _emails(core) == {EMAIL, "before@example.org", "after@example.org"}


def test_of_a_taken_address_and_a_taken_username_the_address_is_told(core: Core) -> None:
    now = core.clock.now()
    user = _inserted(core, EMAIL, "ada", status="active", activated_at=now)
    with core.write() as tx:
        assert not tx.users.insert(replace(user, id=new_id(now)))


def test_what_breaks_another_rule_is_not_called_a_taken_username(core: Core) -> None:
    with pytest.raises(IntegrityError), core.write() as tx:
        tx.users.insert(_new(core, EMAIL, role="emperor"))


def test_a_username_is_a_wish_until_activation(core: Core) -> None:
    for number in range(3):
        _inserted(core, f"{number}@example.org", "ada")
    with core.read() as tx:
        assert tx.users.by_username_key("ada") is None


def test_a09_of_many_that_insert_the_same_address_one_does(make_core: Make) -> None:
    cores = [make_core(), make_core()]
    together = threading.Barrier(8, timeout=60)
    wins: list[bool] = []

    def insert(mine: Core) -> None:
        user = _new(mine, EMAIL)
        together.wait()
        with mine.write(wait=60) as tx:
            wins.append(tx.users.insert(user))

    threads = [threading.Thread(target=insert, args=(cores[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


# -- activate


def test_who_activates_first_gets_the_username_and_the_other_none(core: Core, clock: MovedClock) -> None:
    first, second = _inserted(core, "a@example.org", "ada"), _inserted(core, "b@example.org", "ada")
    assert _activate(core, second)
    clock.move(minutes=1)
    with core.write() as tx:
        assert tx.users.activate(first, email_verified_at=tx.now, password_hash="a new hash", at=tx.now)
        assert tx.users.insert(_new(core, "after@example.org"))
    with core.read() as tx:
        holder = tx.users.by_username_key("ada")
        assert holder
        assert holder.id == second.id
    now = clock.now()
    assert _again(core, first.id) == replace(
        first,
        username=None,
        status="active",
        email_verified_at=now,
        password_hash="a new hash",
        activated_at=now,
        password_changed_at=now,
        updated_at=now,
    )
    with core.read() as tx:
        lost = tx.connection.exec_driver_sql("SELECT count(*) FROM users WHERE username_key = 'ada'").scalar()
    assert lost == 1
    assert "after@example.org" in _emails(core)


def test_of_many_that_wish_for_a_username_one_gets_it_and_all_are_active(make_core: Make) -> None:
    cores = [make_core(), make_core()]
    users = [_inserted(cores[0], f"{number}@example.org", "ada") for number in range(6)]
    together = threading.Barrier(len(users), timeout=60)
    done: list[bool] = []

    def activate(number: int) -> None:
        together.wait()
        done.append(_activate(cores[number % 2], users[number]))

    threads = [threading.Thread(target=activate, args=(number,)) for number in range(len(users))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * len(users)
    found = [_again(cores[0], user.id) for user in users]
    assert sorted(str(user and user.username) for user in found) == ["None"] * 5 + ["ada"]
    assert {user and user.status for user in found} == {"active"}


def test_an_account_is_activated_once(core: Core) -> None:
    user = _inserted(core, EMAIL)
    assert _activate(core, user)
    active_now = _again(core, user.id)
    assert not _activate(core, user, "another hash")
    assert _again(core, user.id) == active_now


def test_who_registered_again_meanwhile_is_not_activated_with_the_old_password(core: Core) -> None:
    user = _inserted(core, EMAIL)
    with core.write() as tx:
        tx.users.rewrite_pending(user, username=None, locale=None, password_hash="another hash", at=tx.now)
    assert not _activate(core, user)
    found = _again(core, user.id)
    assert found
    assert (found.status, found.password_hash) == ("pending", "another hash")


def test_an_account_without_a_password_can_be_activated_with_one(core: Core) -> None:
    user = _inserted(core, EMAIL, password_hash=None)
    assert _activate(core, user, "the first hash")
    found = _again(core, user.id)
    assert found
    assert found.password_hash == "the first hash"


@pytest.mark.parametrize("status", ["active", "deactivated"])
def test_only_an_account_that_never_was_active_is_activated(core: Core, status: str) -> None:
    user = _inserted(core, EMAIL, status=status)
    assert not _activate(core, user)
    assert _again(core, user.id) == user


def test_a_login_is_noted_only_for_the_password_that_was_verified_and_while_active(core: Core) -> None:
    user = _inserted(core, EMAIL, status="active")
    with core.write() as tx:
        assert not tx.users.log_in(user.id, verified_hash="old hash", password_hash="new", at=tx.now)
        assert tx.users.log_in(user.id, verified_hash="a hash", password_hash="new", at=tx.now)
    idle = _inserted(core, "b@example.org", status="deactivated")
    with core.write() as tx:
        assert not tx.users.log_in(idle.id, verified_hash="a hash", password_hash="new", at=tx.now)
    assert _again(core, user.id) == replace(user, password_hash="new", last_login_at=core.clock.now())
    assert _again(core, idle.id) == idle


def test_only_an_active_administrator_counts_as_one(core: Core) -> None:
    _inserted(core, "a@example.org", role="admin", status="deactivated")
    _inserted(core, "b@example.org", role="moderator", status="active")
    with core.read() as tx:
        assert not tx.users.there_is_an_active_admin()
    an_admin(core)
    with core.read() as tx:
        assert tx.users.there_is_an_active_admin()


# -- abandoned accounts


def _delete_abandoned(core: Core, limit: int = 100, after_days: int = 7) -> int:
    with core.write() as tx:
        before = tx.now - after_days * DAY
        counted = tx.users.count_abandoned(before, at=tx.now)
        deleted = tx.users.delete_abandoned(before, at=tx.now, limit=limit)
        assert len(deleted) == min(counted, limit)
        return len(deleted)


def test_abandoned_accounts_are_deleted_up_to_the_limit_with_all_that_is_theirs(
    core: Core, clock: MovedClock
) -> None:
    for number in range(3):
        pending(core, f"{number}@example.org")
    clock.move(days=8)
    assert _delete_abandoned(core, limit=2) == 2
    assert len(_emails(core)) == 1
    assert _delete_abandoned(core, limit=2) == 1
    assert _emails(core) == set()
    with core.read() as tx:
        for table in ("link_tokens", "outbox"):
            assert tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_who_registered_lately_is_not_abandoned(core: Core, clock: MovedClock) -> None:
    user = _inserted(core, EMAIL)
    clock.move(days=7)
    assert _delete_abandoned(core) == 0
    clock.move(microseconds=1)
    with core.write() as tx:
        tx.users.rewrite_pending(user, username=None, locale=None, password_hash="another", at=tx.now)
    assert _delete_abandoned(core) == 0
    clock.move(days=7, microseconds=1)
    assert _delete_abandoned(core) == 1


def test_who_activated_is_never_abandoned(core: Core, clock: MovedClock) -> None:
    active(core)
    an_admin(core)
    _inserted(core, "invited@example.org", status="invited", registered_at=None)
    _inserted(core, "invited-again@example.org", status="invited")
    _inserted(core, "deactivated@example.org", status="deactivated")
    before = _emails(core)
    clock.move(days=400)
    assert _delete_abandoned(core) == 0
    assert _emails(core) == before


def test_whose_link_lives_is_not_abandoned(make_core: Make, clock: MovedClock) -> None:
    core = make_core(registration__activation_hours=24 * 7)
    pending(core)
    clock.move(days=6)
    assert _delete_abandoned(core, after_days=3) == 0
    clock.move(days=1, microseconds=-1)
    assert _delete_abandoned(core, after_days=3) == 0
    clock.move(microseconds=1)
    assert _delete_abandoned(core, after_days=3) == 1


@pytest.mark.parametrize("end", ["used_at", "revoked_at"])
def test_a_dead_link_keeps_no_account(make_core: Make, clock: MovedClock, end: str) -> None:
    core = make_core(registration__activation_hours=24 * 7)
    pending(core)
    clock.move(days=6)
    with core.write() as tx:
        tx.connection.exec_driver_sql(f"UPDATE link_tokens SET {end} = created_at")
    assert _delete_abandoned(core, after_days=3) == 1


def test_the_link_of_somebody_else_keeps_no_account(make_core: Make, clock: MovedClock) -> None:
    core = make_core(registration__activation_hours=24 * 7)
    _inserted(core, "abandoned@example.org")
    clock.move(days=6)
    pending(core, "young@example.org")
    assert _delete_abandoned(core, after_days=3) == 1
    assert _emails(core) == {"young@example.org"}
