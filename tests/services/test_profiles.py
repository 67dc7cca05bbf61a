"""Profile and attributes: who writes them, what they may hold, and what stays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Make
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
    invited,
    logged_in,
    pending,
    rewrite_user,
    signed_in,
    user_row,
)
from tests.profiles import schemas_in, write_schema
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    DomainError,
    Forbidden,
    InvalidAttributes,
    InvalidProfile,
    NotActive,
    SessionEnded,
    TooManyAttempts,
    UsernameTaken,
    UserNotFound,
)
from usersvc.profile_schema import MOST_INTEGER
from usersvc.security.secrets import new_id
from usersvc.services import accounts, admin, first_admin, profiles, registration, sessions
from usersvc.services import actor as actors
from usersvc.services.authentication import authenticate

ROOT = "root@example.org"
FULL: dict[str, Any] = {
    "display_name": "Ада 🦉 \u2028 'x' \"y\" </script> \x1f %s",
    "birthday": "1815-12-10",
    "newsletter": True,
    "height": 1.7976931348623157e308,
    "points": -MOST_INTEGER,
    "address": {"city": "London", "zip": "01234"},
    "notes": ["", "é" * 100],
}


@pytest.fixture
def core(make_core: Make, tmp_path: Path) -> Core:
    return make_core(**schemas_in(tmp_path))


def _own(core: Core) -> accounts.FullAccount:
    return authenticate(core, access_token=logged_in(core).access_token, actor=STRANGER)[1]


def test_a_profile_comes_back_as_it_was_sent_and_takes_the_place_of_the_one_before(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    by = signed_in(core)
    assert (_own(core).profile, _own(core).attributes) == ("{}", "{}")
    clock.move(minutes=1)
    changed = accounts.change(core, profile=FULL, actor=by)
    assert (json.loads(changed.profile), changed.updated_at) == (FULL, core.clock.now())
    assert changed.profile == _own(core).profile
    assert admin.show(core, user_id=changed.id, actor=OPERATOR).profile == changed.profile
    clock.move(minutes=1)
    # The same again, in another order, is no change.
    again = accounts.change(core, profile=dict(reversed(FULL.items())), actor=by)
    assert again.updated_at == changed.updated_at
    assert accounts.change(core, profile={"points": 1}, actor=by).profile == '{"points":1}'
    assert accounts.change(core, profile={"points": 1.0}, actor=by).profile == '{"points":1.0}'
    assert accounts.change(core, profile={}, actor=by).profile == "{}"
    entries = audit_rows(core, "user.profile_changed")
    assert [entry.detail["fields"] for entry in entries] == [
        sorted(FULL),
        sorted(FULL),
        ["points"],
        ["points"],
    ]
    assert {(entry.actor_id, entry.target_id) for entry in entries} == {(changed.id, changed.id)}
    assert "London" not in str(entries)


def test_what_does_not_fit_changes_nothing_not_even_the_username(core: Core) -> None:
    active(core, username="ada")
    active(core, "bob@example.org", username="bob")
    by = signed_in(core)
    accounts.change(core, profile={"points": 1}, actor=by)
    before = user_row(core)
    with pytest.raises(InvalidProfile) as caught:
        accounts.change(core, username="lovelace", profile={"points": 2, "role": "admin"}, actor=by)
    assert caught.value.fields == [("profile.role", "There is no such field.")]
    with pytest.raises(UsernameTaken):
        accounts.change(core, username="bob", profile={"points": 2}, actor=by)
    assert user_row(core) == before
    assert _own(core).profile == '{"points":1}'
    assert audit_rows(core, "user.renamed") == []
    both = accounts.change(core, username="lovelace", profile={"points": 2}, actor=by)
    assert (both.username, both.profile) == ("lovelace", '{"points":2}')


def test_the_size_is_that_of_the_text_in_utf_8(make_core: Make, tmp_path: Path) -> None:
    core = make_core(**schemas_in(tmp_path), profiles__max_bytes=64)
    active(core)
    by = signed_in(core)
    most = {"display_name": "é" * 22 + "x"}  # {"display_name":"…"} is 19 without it
    assert len(accounts.change(core, profile=most, actor=by).profile.encode()) == 64
    with pytest.raises(InvalidProfile) as caught:
        accounts.change(core, profile={"display_name": "é" * 23}, actor=by)
    assert caught.value.fields == [("profile", "Expected at most 64 bytes of JSON.")]


@pytest.mark.sqlite
def test_without_a_schema_nothing_can_be_kept(make_core: Make) -> None:
    core = make_core()
    account = active(core)
    by = signed_in(core)
    assert accounts.change(core, profile={}, actor=by).profile == "{}"
    with pytest.raises(InvalidProfile, match="does not fit") as caught:
        accounts.change(core, profile={"a": 1}, actor=by)
    assert "profiles.profile_schema" in caught.value.fields[0].message
    with pytest.raises(InvalidAttributes):
        profiles.set_attributes(core, user_id=account.id, attributes={"a": 1}, actor=OPERATOR)


def test_attributes_are_for_who_may_write_users_and_holds_no_less(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, root = active(core), an_admin(core)
    his, hers = signed_in(core, ROOT), signed_in(core)

    def write(actor: Any, user_id: Any = account.id) -> accounts.FullAccount:
        return profiles.set_attributes(core, user_id=user_id, attributes={"plan": "paid"}, actor=actor)

    assert write(his).attributes == '{"plan":"paid"}'
    assert _own(core).attributes == '{"plan":"paid"}'
    [entry] = audit_rows(core, "user.attributes_changed")
    assert (entry.actor_id, entry.target_id, entry.detail) == (root.id, account.id, {"fields": ["plan"]})
    refused: list[tuple[Callable[[], object], type[DomainError]]] = [
        (lambda: write(hers), Forbidden),
        (lambda: write(hers, root.id), Forbidden),
        (lambda: write(STRANGER), Forbidden),
        (lambda: write(his, new_id(core.clock.now())), UserNotFound),
        (lambda: profiles.set_profile(core, user_id=root.id, profile={}, actor=hers), Forbidden),
    ]
    for act, error in refused:
        with pytest.raises(error):
            act()
    with pytest.raises(InvalidAttributes):
        profiles.set_attributes(core, user_id=account.id, attributes={"plan": "gold"}, actor=his)
    with monkeypatch.context() as lent:
        lent.setitem(actors.PERMISSIONS, "user", ["users:write"])
        assert write(hers)
        with pytest.raises(Forbidden):
            write(hers, root.id)
    sessions.log_out_everywhere(core, actor=his)
    with pytest.raises(SessionEnded):
        write(his)
    assert len(audit_rows(core, "user.attributes_changed")) == 1
    # Who is shut out keeps them, and they can still be changed.
    admin.deactivate(core, user_id=account.id, actor=OPERATOR)
    with pytest.raises(SessionEnded):
        accounts.change(core, profile={"points": 1}, actor=hers)
    assert profiles.set_attributes(core, user_id=account.id, attributes={}, actor=OPERATOR).attributes == "{}"


def test_a02_an_account_that_awaits_its_owner_holds_nothing_of_a_stranger(core: Core) -> None:
    """Whoever comes to own it finds it empty: nobody can have written there before."""
    pending(core, username="ada")
    user_id = user_row(core).id
    for write in (
        lambda: profiles.set_attributes(core, user_id=user_id, attributes={"plan": "paid"}, actor=OPERATOR),
        lambda: profiles.set_profile(core, user_id=user_id, profile={"points": 1}, actor=OPERATOR),
    ):
        with pytest.raises(NotActive, match="pending"):
            write()
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)
    first_admin.create_admin(core, email=EMAIL, password=PASSWORD, actor=OPERATOR)
    assert (_own(core).profile, _own(core).attributes) == ("{}", "{}")
    # An invited one is an administrator's own: what he keeps of it is there when the person comes.
    invited(core, "bob@example.org")
    bob = user_row(core, "bob@example.org").id
    profiles.set_attributes(core, user_id=bob, attributes={"customer": "7"}, actor=OPERATOR)
    activated = admin.activate(core, user_id=bob, actor=OPERATOR)
    assert admin.show(core, user_id=activated.id, actor=OPERATOR).attributes == '{"customer":"7"}'


def test_what_was_stored_stays_under_another_schema_and_is_found(
    make_core: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "_AT_ONCE", 2)
    named = schemas_in(tmp_path)
    before = make_core(**named)
    for number in range(3):
        account = active(before, f"u{number}@example.org")
        profiles.set_profile(before, user_id=account.id, profile={"points": number}, actor=OPERATOR)
    profiles.set_attributes(before, user_id=account.id, attributes={"customer": "7"}, actor=OPERATOR)
    active(before, "empty@example.org")
    assert list(profiles.misfits(before, actor=OPERATOR)) == []
    narrow = {"properties": {"points": {"maximum": 0}, "new": {}}, "required": ["new"]}
    after = make_core(profiles__profile_schema=write_schema(tmp_path / "narrow.json", narrow))
    assert admin.show(after, user_id=account.id, actor=OPERATOR).profile == '{"points":2}'
    found = list(profiles.misfits(after, actor=OPERATOR))
    assert [(misfit.email, misfit.what, len(misfit.problems)) for misfit in found] == [
        ("u0@example.org", "profile", 1),
        ("u1@example.org", "profile", 2),
        ("u2@example.org", "profile", 2),
        ("u2@example.org", "attributes", 1),
    ]
    with pytest.raises(InvalidProfile):
        profiles.set_profile(after, user_id=account.id, profile={"points": 2}, actor=OPERATOR)
    rewrite_user(after, "u0@example.org", profile="{")
    assert next(profiles.misfits(after, actor=OPERATOR)).problems == [("profile", "This is not JSON.")]
    with pytest.raises(Forbidden):
        next(profiles.misfits(after, actor=STRANGER))


@pytest.mark.sqlite
def test_a_deactivated_account_that_comes_back_has_what_it_had(core: Core) -> None:
    account = deactivated(core)
    profiles.set_profile(core, user_id=account.id, profile={"points": 1}, actor=OPERATOR)
    admin.activate(core, user_id=account.id, actor=OPERATOR)
    assert _own(core).profile == '{"points":1}'


def test_nobody_fills_the_audit_or_holds_up_webhooks_by_changes(core: Core, clock: MovedClock) -> None:
    active(core)
    by = signed_in(core)
    for points in range(20):
        accounts.change(core, profile={"points": points}, actor=by)
    with pytest.raises(TooManyAttempts):
        accounts.change(core, profile={"points": 20}, actor=by)
    assert len(audit_rows(core, "user.profile_changed")) == 20
    clock.move(minutes=1)
    assert accounts.change(core, profile={"points": 20}, actor=by).profile == '{"points":20}'
