"""Accounts activated, deactivated, given roles; who may, and what nobody may."""

import uuid
from collections.abc import Callable
from functools import partial

import pytest

from tests.conftest import Make
from tests.database import before_next_write, rows
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    outbox_rows,
    pending,
    rewrite_user,
    together,
    token_in,
    user_row,
)
from usersvc.core import Core
from usersvc.errors import (
    AccountDeactivated,
    DomainError,
    Forbidden,
    InvalidCredentials,
    InvalidLink,
    LastAdmin,
    NotActive,
    OwnAccount,
    SessionEnded,
    UserNotFound,
)
from usersvc.repositories.users import User
from usersvc.services import actor as actors
from usersvc.services import admin, directory, invitations, passwords, profiles, registration, sessions
from usersvc.services.accounts import Account, WatchedAccount
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

ROOT, OTHER = "root@example.org", "other@example.org"


def _signed_in(core: Core, email: str) -> Actor:
    return authenticate(core, access_token=logged_in(core, email).access_token, actor=STRANGER)[0]


def _root(core: Core, email: str = ROOT) -> Actor:
    an_admin(core, email)
    return _signed_in(core, email)


def _moderator(core: Core) -> Actor:
    made = active(core, "mod@example.org")
    admin.set_role(core, user_id=made.id, role="moderator", actor=OPERATOR)
    return _signed_in(core, "mod@example.org")


def _user(core: Core) -> Actor:
    active(core, "user@example.org")
    return _signed_in(core, "user@example.org")


USE_CASES: dict[str, Callable[[Core, Account, Actor], object]] = {
    "list": lambda core, _, who: directory.list_users(core, actor=who),
    "show": lambda core, on, who: admin.show(core, user_id=on.id, actor=who),
    "sessions": lambda core, on, who: sessions.list_of(core, user_id=on.id, actor=who),
    "end sessions": lambda core, on, who: sessions.revoke_all(core, user_id=on.id, actor=who),
    "invite": lambda core, _, who: invitations.invite(core, email="new@example.org", actor=who),
    "activate": lambda core, on, who: admin.activate(core, user_id=on.id, actor=who),
    "deactivate": lambda core, on, who: admin.deactivate(core, user_id=on.id, actor=who),
    "set role": lambda core, on, who: admin.set_role(core, user_id=on.id, role="admin", actor=who),
    "attributes": lambda core, on, who: profiles.set_attributes(
        core, user_id=on.id, attributes={}, actor=who
    ),
}
WRITING = ["end sessions", "invite", "activate", "deactivate", "set role", "attributes"]


@pytest.mark.parametrize("use_case", USE_CASES)
def test_administrators_and_operators_may(core: Core, use_case: str) -> None:
    for email, who in ((EMAIL, _root(core)), (OTHER, OPERATOR)):
        on = active(core, email)
        if use_case == "invite":
            invitations.invite(core, email=f"by-{who.kind}@example.org", actor=who)
        else:
            USE_CASES[use_case](core, on, who)


@pytest.mark.parametrize("use_case", USE_CASES)
@pytest.mark.parametrize("role", [_user, _moderator, lambda _: STRANGER, lambda _: Actor.job("purge")])
def test_nobody_else_may_and_nothing_changes(
    core: Core, use_case: str, role: Callable[[Core], Actor]
) -> None:
    on, who = active(core), role(core)
    before, mails = user_row(core), outbox_rows(core)
    with pytest.raises(Forbidden):
        USE_CASES[use_case](core, on, who)
    assert user_row(core) == before
    assert outbox_rows(core) == mails


@pytest.mark.parametrize("use_case", WRITING)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("UPDATE sessions SET ended_at = created_at, end_reason = 'x' WHERE user_id = :id", SessionEnded),
        ("DELETE FROM sessions WHERE user_id = :id", SessionEnded),
        ("UPDATE users SET status = 'deactivated' WHERE id = :id", SessionEnded),
        ("UPDATE users SET role = 'moderator' WHERE id = :id", Forbidden),
    ],
    ids=["session ended", "session deleted", "deactivated", "demoted"],
)
def test_what_is_lost_in_this_moment_stops_what_was_on_its_way(
    core: Core, use_case: str, change: str, error: type[DomainError]
) -> None:
    on, who = active(core), _root(core)
    before = user_row(core)
    assert who.user_id is not None
    with pytest.raises(error), before_next_write(core, change, id=who.user_id):
        USE_CASES[use_case](core, on, who)
    assert user_row(core) == before
    with core.read() as tx:
        assert tx.users.by_email_key("new@example.org") is None


@pytest.mark.parametrize(
    "use_case", ["show", "sessions", "end sessions", "activate", "deactivate", "set role", "attributes"]
)
def test_who_does_not_exist_is_not_found(core: Core, use_case: str) -> None:
    nobody = Account.of(_row_of_nobody(core))
    with pytest.raises(UserNotFound):
        USE_CASES[use_case](core, nobody, _root(core))


@pytest.mark.parametrize(
    "use_case", ["show", "sessions", "end sessions", "activate", "deactivate", "set role", "attributes"]
)
def test_who_may_not_is_not_told_who_exists(core: Core, use_case: str) -> None:
    nobody = Account.of(_row_of_nobody(core))
    with pytest.raises(Forbidden):
        USE_CASES[use_case](core, nobody, _user(core))


def _row_of_nobody(core: Core) -> User:
    active(core)
    return User(**{**vars(user_row(core)), "id": uuid.uuid4()})


def test_an_account_is_shown_as_it_is(core: Core) -> None:
    account = active(core)
    found = admin.show(core, user_id=account.id, actor=OPERATOR)
    assert found == WatchedAccount(
        **vars(account), profile="{}", attributes="{}", must_change_password=False, deletion_due_at=None
    )


def test_nobody_changes_their_own_role_or_deactivates_themselves(core: Core) -> None:
    who = _root(core)
    an_admin(core, OTHER)
    before = user_row(core, ROOT)
    for role in ("user", "moderator", "admin"):
        with pytest.raises(OwnAccount, match=r"^You cannot change your own role\.$"):
            admin.set_role(core, user_id=before.id, role=role, actor=who)
    with pytest.raises(OwnAccount, match=r"^You cannot deactivate your own account\.$"):
        admin.deactivate(core, user_id=before.id, actor=who)
    assert user_row(core, ROOT) == before


@pytest.mark.parametrize("role", ["user", "moderator"])
def test_the_last_administrator_stays_whoever_asks(core: Core, role: str) -> None:
    last = an_admin(core)
    # Neither of these is an administrator who could let anybody in.
    invited(core, "invited@example.org", role="admin")
    an_admin(core, OTHER)
    admin.deactivate(core, user_id=user_row(core, OTHER).id, actor=OPERATOR)
    with pytest.raises(LastAdmin):
        admin.set_role(core, user_id=last.id, role=role, actor=OPERATOR)
    with pytest.raises(LastAdmin):
        admin.deactivate(core, user_id=last.id, actor=OPERATOR)
    assert (user_row(core, ROOT).role, user_row(core, ROOT).status) == ("admin", "active")


def _demote(core: Core, email: str, who: Actor) -> Account:
    return admin.set_role(core, user_id=user_row(core, email).id, role="user", actor=who)


def _shut_out(core: Core, email: str, who: Actor) -> Account:
    return admin.deactivate(core, user_id=user_row(core, email).id, actor=who)


@pytest.mark.parametrize("by_operator", [False, True], ids=["administrators", "operators"])
def test_of_two_administrators_one_stays_when_both_go_at_once(make_core: Make, by_operator: bool) -> None:
    first, second = make_core(), make_core()
    an_admin(first, ROOT)
    an_admin(first, OTHER)
    for number in range(20):
        actors_now = [OPERATOR, OPERATOR] if by_operator else [_signed_in(first, e) for e in (ROOT, OTHER)]
        act = _demote if number % 2 else _shut_out
        found = together(partial(act, first, OTHER, actors_now[0]), partial(act, second, ROOT, actors_now[1]))
        assert sum(isinstance(one, Account) for one in found) == 1, found
        [refused] = [one for one in found if not isinstance(one, Account)]
        assert isinstance(refused, LastAdmin if by_operator else (Forbidden, SessionEnded)), refused
        standing = [user_row(first, email) for email in (ROOT, OTHER)]
        assert [(user.role, user.status) for user in standing].count(("admin", "active")) == 1
        for email in (ROOT, OTHER):
            rewrite_user(first, email, role="admin", status="active")


@pytest.mark.parametrize("use_case", ["end sessions", "activate", "deactivate", "set role"])
def test_a56_nobody_acts_on_who_holds_a_permission_that_they_lack(
    core: Core, monkeypatch: pytest.MonkeyPatch, use_case: str
) -> None:
    monkeypatch.setitem(actors.PERMISSIONS, "moderator", ["content:manage", "users:write", "roles:write"])
    who = _moderator(core)
    above, below = an_admin(core), active(core)
    before = user_row(core, ROOT)
    pair = logged_in(core, ROOT)
    acts = {**USE_CASES, "set role": lambda core, on, who: _demote(core, on.email, who)}
    with pytest.raises(Forbidden):
        acts[use_case](core, above, who)
    assert user_row(core, ROOT).status == before.status
    assert user_row(core, ROOT).role == before.role
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    acts[use_case](core, below, who)


def test_a56_nobody_gives_a_role_with_permissions_that_they_lack(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(actors.PERMISSIONS, "moderator", ["content:manage", "users:write", "roles:write"])
    who, below = _moderator(core), active(core)
    with pytest.raises(Forbidden):
        admin.set_role(core, user_id=below.id, role="admin", actor=who)
    with pytest.raises(Forbidden):
        invitations.invite(core, email="new@example.org", role="admin", actor=who)
    assert admin.set_role(core, user_id=below.id, role="moderator", actor=who).role == "moderator"


@pytest.mark.parametrize(("make", "status"), [(pending, "pending"), (deactivated, "deactivated")])
def test_a_role_above_user_needs_an_active_or_invited_account(
    core: Core, make: Callable[[Core], object], status: str
) -> None:
    make(core)
    for role in ("moderator", "admin"):
        with pytest.raises(NotActive, match=f"^This account is {status}: activate it first"):
            admin.set_role(core, user_id=user_row(core).id, role=role, actor=OPERATOR)
    assert (user_row(core).role, user_row(core).status) == ("user", status)
    assert audit_rows(core, "user.role_changed") == []


def test_a_deactivated_moderator_can_be_demoted_and_an_invited_one_promoted(core: Core) -> None:
    invited(core)
    promoted = admin.set_role(core, user_id=user_row(core).id, role="moderator", actor=OPERATOR)
    assert promoted.role == "moderator"
    admin.deactivate(core, user_id=promoted.id, actor=OPERATOR)
    assert admin.set_role(core, user_id=promoted.id, role="user", actor=OPERATOR).role == "user"


def test_a_role_acts_at_once_and_is_in_the_audit_once(core: Core) -> None:
    who, on = _root(core), active(core)
    his = _signed_in(core, EMAIL)
    for _ in range(2):
        assert admin.set_role(core, user_id=on.id, role="admin", actor=who).is_admin
    assert admin.show(core, user_id=on.id, actor=his).role == "admin"
    [entry] = audit_rows(core, "user.role_changed")
    assert (entry.actor_id, entry.target_id) == (who.user_id, on.id)
    assert entry.detail == {"before": "user", "after": "admin"}


def _forgotten(core: Core) -> str:
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    return token_in(mail)


def test_deactivation_ends_sessions_and_links_at_once_and_reactivation_revives_none(core: Core) -> None:
    on = active(core)
    pair, link = logged_in(core), _forgotten(core)
    admin.deactivate(core, user_id=on.id, actor=OPERATOR)
    [entry] = audit_rows(core, "user.deactivated")
    assert entry.detail == {"before": "active", "sessions": 1}
    assert rows(core, "SELECT end_reason FROM sessions") == [("deactivated",)]
    for again in (False, True):
        if again:
            admin.activate(core, user_id=on.id, actor=OPERATOR)
        with pytest.raises(SessionEnded):
            authenticate(core, access_token=pair.access_token, actor=STRANGER)
        with pytest.raises(SessionEnded):
            sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
        with pytest.raises(InvalidLink):
            passwords.reset(core, token=link, new_password=OTHER_PASSWORD, actor=STRANGER)
        if not again:
            with pytest.raises(AccountDeactivated):
                logged_in(core)
    assert logged_in(core)


def test_who_is_let_in_or_shut_out_is_told_so_once(core: Core) -> None:
    on, link = active(core), _forgotten(core)
    for again in range(2):
        shut_out = admin.deactivate(core, user_id=on.id, actor=OPERATOR)
        assert (shut_out.status, len(outbox_rows(core))) == ("deactivated", 4), again
    for again in range(2):
        assert admin.activate(core, user_id=on.id, actor=OPERATOR) == on
        assert len(outbox_rows(core)) == 5, again
    *_, gone, back = outbox_rows(core)
    assert [(mail.kind, mail.address, mail.user_id) for mail in (gone, back)] == [
        ("deactivated", EMAIL, on.id),
        ("reactivated", EMAIL, on.id),
    ]
    [entry] = audit_rows(core, "user.deactivated")
    assert (entry.actor_name, entry.target_id) == (OPERATOR.name, on.id)
    _, entry = audit_rows(core, "user.activated")
    assert (entry.actor_name, entry.target_id, entry.detail) == (
        OPERATOR.name,
        on.id,
        {"before": "deactivated"},
    )
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=link, new_password=OTHER_PASSWORD, actor=STRANGER)


@pytest.mark.parametrize("make", [pending, invited])
def test_who_was_never_in_is_not_told_that_he_is_shut_out(core: Core, make: Callable[[Core], object]) -> None:
    make(core)
    admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR)
    assert delivered(core) == []
    assert rows(core, "SELECT 1 FROM link_tokens WHERE revoked_at IS NULL") == []


def test_an_invitation_does_not_outlive_an_activation(core: Core) -> None:
    token = invited(core)
    admin.activate(core, user_id=user_row(core).id, actor=OPERATOR)
    [mail] = delivered(core)
    assert token_in(mail) != token
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=token, new_password=PASSWORD, actor=STRANGER)


@pytest.mark.parametrize("first_deactivated", [False, True])
def test_a_password_set_by_a_stranger_never_works(core: Core, first_deactivated: bool) -> None:
    token = pending(core)
    user_id = user_row(core).id
    if first_deactivated:
        admin.deactivate(core, user_id=user_id, actor=OPERATOR)
    admin.activate(core, user_id=user_id, actor=OPERATOR)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    with pytest.raises(InvalidLink):
        registration.activate(core, token=token, password=PASSWORD, actor=STRANGER)
    [mail] = delivered(core)
    passwords.reset(core, token=token_in(mail), new_password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    assert logged_in(core, password=OTHER_PASSWORD)
    assert user_row(core).email_verified_at is not None


def test_an_invitation_does_not_outlive_deactivation(core: Core) -> None:
    token = invited(core)
    user_id = user_row(core).id
    admin.deactivate(core, user_id=user_id, actor=OPERATOR)
    admin.activate(core, user_id=user_id, actor=OPERATOR)
    [mail] = delivered(core)
    with pytest.raises(InvalidLink):
        passwords.reset(core, token=token, new_password=PASSWORD, actor=STRANGER)
    passwords.reset(core, token=token_in(mail), new_password=PASSWORD, actor=STRANGER)
    assert logged_in(core)
