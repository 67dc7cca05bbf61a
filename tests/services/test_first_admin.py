from functools import partial

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    delivered,
    logged_in,
    outbox_rows,
    pending,
    rewrite_user,
    together,
    user_row,
    watching_hashes,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidEmail,
    InvalidLink,
    InvalidUsername,
    NotActive,
    UsernameTaken,
    WeakPassword,
)
from usersvc.services import first_admin, registration
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

OPERATOR = Actor.operator("tester")
create_admin = partial(first_admin.create_admin, actor=OPERATOR)


def test_a_new_address_becomes_an_active_administrator(core: Core) -> None:
    account = create_admin(core, email="Root@Example.org", password=PASSWORD, username="Root")
    assert (account.email, account.username, account.role, account.status) == (
        "Root@example.org",
        "root",
        "admin",
        "active",
    )
    assert account.email_verified is False
    assert account == Account.of(user_row(core, "root@example.org"))
    assert logged_in(core, "root@example.org").access_token
    assert outbox_rows(core) == []


def test_a68_a_new_administrator_is_one_audit_entry_naming_the_operator(core: Core) -> None:
    account = create_admin(core, email=EMAIL, password=PASSWORD)
    [entry] = audit_rows(core, "user.created")
    assert (entry.actor_kind, entry.actor_name, entry.actor_id) == ("operator", "tester", None)
    assert (entry.target_id, entry.outcome, entry.detail) == (account.id, "ok", {"role": "admin"})
    assert entry.at == core.clock.now()


def test_an_active_account_is_promoted_and_keeps_password_username_and_sessions(core: Core) -> None:
    active(core, username="ada")
    pair = logged_in(core)
    before = user_row(core)
    account = create_admin(core, email=EMAIL, password=OTHER_PASSWORD, username="root")
    assert (account.role, account.username) == ("admin", "ada")
    assert user_row(core).password_hash == before.password_hash
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)[1].is_admin
    [entry] = audit_rows(core, "user.role_changed")
    assert (entry.actor_name, entry.target_id, entry.detail) == (
        "tester",
        account.id,
        {"before": "user", "after": "admin"},
    )


def test_an_active_account_needs_no_password_to_be_promoted(core: Core) -> None:
    active(core)
    with watching_hashes(core) as (watched, pool):
        assert create_admin(watched, email=EMAIL, password=None).is_admin
    assert pool.jobs == 0


def test_an_administrator_stays_as_he_is(core: Core) -> None:
    an_admin(core)
    before = user_row(core, "root@example.org")
    core.clock.move(minutes=1)
    create_admin(core, email="root@example.org", password=OTHER_PASSWORD)
    assert user_row(core, "root@example.org") == before
    assert audit_rows(core, "user.role_changed") == []
    assert len(audit_rows(core, "user.created")) == 1


def test_a02e_whatever_a_stranger_left_under_the_address_is_void(core: Core) -> None:
    link = pending(core, password=OTHER_PASSWORD, username="mallory")
    account = create_admin(core, email=EMAIL, password=PASSWORD, username="root")
    assert (account.status, account.role, account.username) == ("active", "admin", "root")
    assert account.email_verified is False
    with pytest.raises(InvalidLink):
        registration.activate(core, token=link, password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert logged_in(core).access_token
    assert [entry.target_id for entry in audit_rows(core, "user.activated")] == [account.id]
    [entry] = audit_rows(core, "user.role_changed")
    assert (entry.target_id, entry.detail) == (account.id, {"before": "user", "after": "admin"})


def test_a02e_a_strangers_username_does_not_stay_on_an_administrator(core: Core) -> None:
    pending(core, password=OTHER_PASSWORD, username="mallory")
    assert create_admin(core, email=EMAIL, password=PASSWORD).username is None


def test_a02e_a_mail_on_its_way_to_the_stranger_is_not_sent_any_more(core: Core) -> None:
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    create_admin(core, email=EMAIL, password=PASSWORD)
    assert delivered(core) == []
    assert [mail.status for mail in outbox_rows(core)] == ["dropped"]


def test_a02e_registering_an_administrators_address_changes_nothing(core: Core, clock: MovedClock) -> None:
    an_admin(core, EMAIL)
    before = user_row(core)
    clock.move(minutes=2)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, username="mallory", actor=STRANGER)
    assert user_row(core) == before
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)


def test_a02e_an_invited_account_becomes_an_active_administrator_with_the_operators_password(
    core: Core,
) -> None:
    link = pending(core, password=OTHER_PASSWORD)
    # Invitations are not written yet; this is the row that one leaves.
    rewrite_user(core, status="invited", invited_at=core.clock.now(), password_hash=None)
    account = create_admin(core, email=EMAIL, password=PASSWORD)
    assert (account.status, account.role) == ("active", "admin")
    assert logged_in(core).access_token
    with pytest.raises(InvalidLink):
        registration.activate(core, token=link, password=OTHER_PASSWORD, actor=STRANGER)


def test_a02e_an_account_that_became_active_meanwhile_is_not_promoted_with_a_strangers_password(
    make_core: Make,
) -> None:
    core = make_core(registration__activation=False)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: registration.register(
            core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER
        )
        # Refusing and telling the operator to look again would be as good as taking the account over.
        with pytest.raises(NotActive, match=r"^This account changed in this moment"):
            create_admin(watched, email=EMAIL, password=PASSWORD)
    assert user_row(core).role == "user"


def test_a_pending_account_that_appears_meanwhile_is_taken_over(core: Core) -> None:
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: registration.register(
            core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER
        )
        assert create_admin(watched, email=EMAIL, password=PASSWORD).is_admin
    with pytest.raises(InvalidCredentials):
        logged_in(core, password=OTHER_PASSWORD)
    assert logged_in(core).access_token


def test_a_deactivated_account_is_not_promoted(core: Core) -> None:
    active(core)
    rewrite_user(core, status="deactivated")  # deactivating is not written yet
    before = user_row(core)
    with pytest.raises(NotActive, match=r"^This account is deactivated"):
        create_admin(core, email=EMAIL, password=PASSWORD)
    with pytest.raises(NotActive, match=r"^This account is deactivated"):
        first_admin.plan_admin(core, email=EMAIL)
    assert user_row(core) == before


def test_an_account_deactivated_meanwhile_is_not_promoted(core: Core) -> None:
    pending(core)
    with watching_hashes(core) as (watched, pool):
        pool.afterwards = lambda: rewrite_user(core, status="deactivated")
        with pytest.raises(NotActive):
            create_admin(watched, email=EMAIL, password=PASSWORD)
    assert (user_row(core).role, user_row(core).status) == ("user", "deactivated")


@pytest.mark.parametrize("password", [None, "", "short", "passwordpassword", f"{EMAIL} zebra quilt"])
def test_a_weak_password_is_refused_as_everywhere(core: Core, password: str | None) -> None:
    with watching_hashes(core) as (watched, pool), pytest.raises(WeakPassword):
        create_admin(watched, email=EMAIL, password=password)
    assert pool.jobs == 0
    assert not first_admin.there_is_an_admin(core)


def test_the_username_is_no_part_of_the_password(core: Core) -> None:
    with pytest.raises(WeakPassword):
        create_admin(core, email=EMAIL, password="zebra quilt 41 lovelace", username="lovelace")


@pytest.mark.parametrize("actor", [STRANGER, Actor.job("purge")])
def test_nobody_but_an_operator_makes_an_administrator(core: Core, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        create_admin(core, email=EMAIL, password=PASSWORD, actor=actor)
    assert not first_admin.there_is_an_admin(core)


def test_the_setting_for_special_domains_reaches_administrators(make_core: Make) -> None:
    with pytest.raises(InvalidEmail):
        create_admin(make_core(), email="root@mail.test", password=PASSWORD)
    core = make_core(registration__special_domains=True)
    assert create_admin(core, email="root@mail.test", password=PASSWORD).email == "root@mail.test"


def test_what_is_no_address_or_username_is_refused(core: Core) -> None:
    with pytest.raises(InvalidEmail):
        create_admin(core, email="root", password=PASSWORD)
    with pytest.raises(InvalidUsername):
        create_admin(core, email=EMAIL, password=PASSWORD, username="a b")
    assert not first_admin.there_is_an_admin(core)


def test_a_taken_username_is_refused_for_a_new_account(core: Core) -> None:
    active(core, "b@example.org", username="root")
    with pytest.raises(UsernameTaken):
        create_admin(core, email=EMAIL, password=PASSWORD, username="Root")
    with core.read() as tx:
        assert tx.users.by_email_key(EMAIL) is None


def test_a_taken_username_is_refused_for_an_account_that_is_taken_over(core: Core) -> None:
    active(core, "b@example.org", username="root")
    pending(core)
    before = user_row(core)
    with pytest.raises(UsernameTaken):
        create_admin(core, email=EMAIL, password=PASSWORD, username="root")
    assert user_row(core) == before


def test_a_username_that_a_pending_account_wishes_for_is_free(core: Core) -> None:
    link = pending(core, "b@example.org", username="root")
    assert create_admin(core, email=EMAIL, password=PASSWORD, username="root").username == "root"
    assert registration.activate(core, token=link, actor=STRANGER).username is None


def test_the_plan_tells_what_would_happen_and_changes_nothing(core: Core) -> None:
    plan = first_admin.plan_admin(core, email="Ada@Example.org")
    assert (plan.email, plan.existing, plan.needs_password) == ("Ada@example.org", None, True)
    pending(core)
    plan = first_admin.plan_admin(core, email=EMAIL)
    assert plan.existing == Account.of(user_row(core))
    assert plan.needs_password
    rewrite_user(core, status="active", activated_at=core.clock.now())  # without the way through the mail
    assert not first_admin.plan_admin(core, email=EMAIL).needs_password
    assert user_row(core).role == "user"


def test_there_is_an_admin_once_one_is_active(core: Core) -> None:
    assert not first_admin.there_is_an_admin(core)
    active(core)
    assert not first_admin.there_is_an_admin(core)
    an_admin(core)
    assert first_admin.there_is_an_admin(core)
    rewrite_user(core, "root@example.org", status="deactivated")  # deactivating is not written yet
    assert not first_admin.there_is_an_admin(core)


def test_one_address_made_administrator_several_times_at_once_is_one_account(core: Core) -> None:
    answers = together(*[partial(create_admin, core, email=EMAIL, password=PASSWORD)] * 4)
    made = {answer.id for answer in answers if isinstance(answer, Account)}
    assert len(made) == 1
    assert len(audit_rows(core, "user.created")) == 1
    assert logged_in(core).access_token
