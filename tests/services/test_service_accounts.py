"""Service accounts: made, changed, rotated, revoked; who may, and what they may never have."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import Make
from tests.database import dump
from tests.factories import EMAIL, OPERATOR, STRANGER, active, an_admin, audit_rows, signed_in, together
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    CredentialNotFound,
    DomainError,
    Forbidden,
    InvalidClient,
    InvalidDescription,
    InvalidPermission,
    InvalidServiceName,
    ReservedPermission,
    ServiceNameTaken,
    ServiceNotFound,
    TooManyCredentials,
    UnknownAudience,
)
from usersvc.services import admin, client_authentication, client_credentials, service_accounts
from usersvc.services._credentials import NewCredential
from usersvc.services.actor import PERMISSIONS
from usersvc.services.client_authentication import Client, authenticate_client
from usersvc.services.introspection import introspect
from usersvc.services.service_accounts import MOST_PERMISSIONS, NewService


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core(tokens__audiences="billing, files")


def made(core: Core, name: str = "reports", **more: Any) -> NewService:
    given: dict[str, Any] = {"permissions": ["orders:read"], "audiences": ["billing"], **more}
    return service_accounts.create(core, name=name, actor=OPERATOR, **given)


def client_of(core: Core, credential: NewCredential) -> Client:
    return authenticate_client(
        core,
        client_id=str(credential.client_id),
        client_secret=credential.client_secret,
        actor=STRANGER,
    )


def test_a_service_has_what_it_was_given_and_its_secret_is_nowhere(core: Core, clock: MovedClock) -> None:
    new = made(core, "Reports", permissions=["b:x", "a:y", "b:x"], description="Monthly.")
    assert new.service == service_accounts.show(core, service_id=new.service.id, actor=OPERATOR)
    assert new.service == service_accounts.find(core, name="REPORTS", actor=OPERATOR)
    assert [new.service] == service_accounts.list_services(core, actor=OPERATOR)
    assert (new.service.name, new.service.permissions) == ("reports", ["a:y", "b:x"])
    assert (new.service.audiences, new.service.may_end_sessions) == (["billing"], False)
    [shown] = new.service.credentials
    assert (shown.id, shown.hint) == (new.credential.id, new.credential.client_secret[-4:])
    assert new.credential.expires_at == clock.now() + timedelta(days=365)
    assert new.credential.client_secret not in dump(core)
    assert new.credential.client_secret.removeprefix("usvc_") not in dump(core)
    assert client_of(core, new.credential).service.id == new.service.id


WRONG: list[tuple[dict[str, Any], type[DomainError]]] = [
    ({"name": ""}, InvalidServiceName),
    ({"name": "-x"}, InvalidServiceName),
    ({"name": "x" * 65}, InvalidServiceName),
    ({"name": "re ports"}, InvalidServiceName),
    ({"name": "r\u00e9ports"}, InvalidServiceName),
    ({"name": str(uuid4())}, InvalidServiceName),
    ({"name": "taken"}, ServiceNameTaken),
    ({"name": "TAKEN"}, ServiceNameTaken),
    ({"permissions": ["orders"]}, InvalidPermission),
    ({"permissions": [f"a:{n}" for n in range(MOST_PERMISSIONS + 1)]}, InvalidPermission),
    ({"permissions": ["orders:read", "services:write"]}, ReservedPermission),
    ({"audiences": ["usersvc"]}, UnknownAudience),
    ({"audiences": ["billing", "other"]}, UnknownAudience),
    ({"description": "x" * 201}, InvalidDescription),
    ({"description": "two\nlines"}, InvalidDescription),
    ({"description": "\0"}, InvalidDescription),
    ({"description": "\ud800"}, InvalidDescription),
]


def test_what_is_wrong_is_told_and_makes_nothing(core: Core) -> None:
    new = made(core, "taken")
    before = dump(core)
    for wrong, error in WRONG:
        with pytest.raises(error):
            made(core, **wrong)
        if "name" not in wrong:
            with pytest.raises(error):
                service_accounts.change(core, service_id=new.service.id, **wrong, actor=OPERATOR)
    assert dump(core) == before


def test_a57_nothing_of_usersvc_own_is_ever_a_service_s(core: Core) -> None:
    for permission in {name for held in PERMISSIONS.values() for name in held}:
        with pytest.raises(ReservedPermission):
            made(core, permissions=[permission])
    actor = client_of(core, made(core).credential).actor
    assert (actor.kind, actor.user_id, actor.session_id) == ("service", None, None)
    account = active(core)
    with pytest.raises(Forbidden):
        admin.deactivate(core, user_id=account.id, actor=actor)
    with pytest.raises(Forbidden):
        service_accounts.list_services(core, actor=actor)


def test_a51_only_administrators_make_and_see_them(core: Core) -> None:
    new = made(core)
    active(core)
    before = dump(core)
    user = signed_in(core, EMAIL)
    before = dump(core)
    acts: list[Any] = [
        lambda: service_accounts.create(core, name="x", permissions=[], actor=user),
        lambda: service_accounts.change(core, service_id=new.service.id, permissions=[], actor=user),
        lambda: service_accounts.deactivate(core, service_id=new.service.id, actor=user),
        lambda: service_accounts.activate(core, service_id=new.service.id, actor=user),
        lambda: service_accounts.delete(core, service_id=new.service.id, actor=user),
        lambda: service_accounts.rotate(core, service_id=new.service.id, actor=user),
        lambda: service_accounts.revoke_credential(
            core, service_id=new.service.id, credential_id=new.credential.id, actor=user
        ),
        lambda: service_accounts.show(core, service_id=new.service.id, actor=user),
        lambda: service_accounts.find(core, name="reports", actor=user),
        lambda: service_accounts.list_services(core, actor=user),
    ]
    for act in acts:
        with pytest.raises(Forbidden):
            act()
    assert dump(core) == before
    an_admin(core)
    by = signed_in(core, "root@example.org")
    assert service_accounts.create(core, name="x", permissions=[], actor=by)
    with pytest.raises(ServiceNotFound):
        service_accounts.rotate(core, service_id=uuid4(), actor=by)


def test_what_is_changed_is_told_with_what_was_before_and_the_rest_stays(core: Core) -> None:
    new = made(core, description="Monthly.")
    changed = service_accounts.change(
        core, service_id=new.service.id, permissions=["b:x"], may_end_sessions=True, actor=OPERATOR
    )
    assert (changed.permissions, changed.may_end_sessions) == (["b:x"], True)
    assert (changed.audiences, changed.description) == (["billing"], "Monthly.")
    [entry] = audit_rows(core, "service.changed")
    assert entry.target_id == new.service.id
    assert entry.detail == {
        "before": {"permissions": ["orders:read"], "may_end_sessions": False},
        "after": {"permissions": ["b:x"], "may_end_sessions": True},
    }
    before = dump(core)
    assert changed == service_accounts.change(
        core, service_id=new.service.id, permissions=["b:x"], description="Monthly.", actor=OPERATOR
    )
    assert dump(core) == before


def test_a_rotated_secret_works_beside_the_new_one_until_the_overlap_is_over(
    core: Core, clock: MovedClock
) -> None:
    first = made(core).credential
    second = service_accounts.rotate(core, service_id=first.client_id, actor=OPERATOR)
    assert client_of(core, first)
    assert client_of(core, second)
    clock.move(hours=24, seconds=-1)
    assert client_of(core, first)
    clock.move(seconds=1)
    with pytest.raises(InvalidClient):
        client_of(core, first)
    assert client_of(core, second)
    third = service_accounts.rotate(core, service_id=first.client_id, overlap_hours=0, actor=OPERATOR)
    with pytest.raises(InvalidClient):
        client_of(core, second)
    clock.move(days=365, seconds=-1)
    assert client_of(core, third)
    clock.move(seconds=1)
    with pytest.raises(InvalidClient):
        client_of(core, third)


def test_an_overlap_lets_no_secret_live_longer_than_it_would(core: Core, clock: MovedClock) -> None:
    first = made(core, expires_days=1).credential
    service_accounts.rotate(core, service_id=first.client_id, overlap_hours=240, actor=OPERATOR)
    clock.move(days=1)
    with pytest.raises(InvalidClient):
        client_of(core, first)
    endless = made(core, "endless", expires_days=0).credential
    clock.move(days=3650)
    assert client_of(core, endless)


def test_three_secrets_work_and_no_fourth_is_made_also_not_at_once(core: Core) -> None:
    first = made(core).credential

    def rotate() -> NewCredential:
        return service_accounts.rotate(core, service_id=first.client_id, actor=OPERATOR)

    results = together(*[rotate] * 4)
    new = [result for result in results if isinstance(result, NewCredential)]
    assert len(new) == 2
    assert [type(result) for result in results if result not in new] == [TooManyCredentials] * 2
    service_accounts.revoke_credential(
        core, service_id=first.client_id, credential_id=first.id, actor=OPERATOR
    )
    assert rotate()
    with pytest.raises(CredentialNotFound):
        service_accounts.revoke_credential(
            core, service_id=first.client_id, credential_id=first.id, actor=OPERATOR
        )
    other = made(core, "other")
    with pytest.raises(CredentialNotFound):
        service_accounts.revoke_credential(
            core, service_id=first.client_id, credential_id=other.credential.id, actor=OPERATOR
        )


def test_a59_a_deactivated_service_and_a_revoked_secret_are_refused_at_once(core: Core) -> None:
    new = made(core)
    service_accounts.deactivate(core, service_id=new.service.id, actor=OPERATOR)
    service_accounts.deactivate(core, service_id=new.service.id, actor=OPERATOR)
    assert len(audit_rows(core, "service.deactivated")) == 1
    with pytest.raises(InvalidClient):
        client_of(core, new.credential)
    assert service_accounts.activate(core, service_id=new.service.id, actor=OPERATOR).is_active
    assert client_of(core, new.credential)
    service_accounts.revoke_credential(
        core, service_id=new.service.id, credential_id=new.credential.id, actor=OPERATOR
    )
    with pytest.raises(InvalidClient):
        client_of(core, new.credential)
    assert service_accounts.activate(core, service_id=new.service.id, actor=OPERATOR).is_active
    with pytest.raises(InvalidClient):
        client_of(core, new.credential)


def test_a59_a_deleted_service_is_refused_at_once_and_its_name_is_free(core: Core) -> None:
    other = made(core, "looks")
    new = made(core)
    client = client_of(core, new.credential)
    token = client_credentials.issue(core, client=client, scope=None, audience=None).access_token
    looks = client_of(core, other.credential)
    assert introspect(core, client=looks, token=token)
    service_accounts.delete(core, service_id=new.service.id, actor=OPERATOR)
    assert introspect(core, client=looks, token=token) is None
    with pytest.raises(InvalidClient):
        client_of(core, new.credential)
    [entry] = audit_rows(core, "service.deleted")
    assert (entry.target_id, entry.detail) == (new.service.id, {"name": "reports"})
    with pytest.raises(ServiceNotFound):
        service_accounts.delete(core, service_id=new.service.id, actor=OPERATOR)
    # Another one of this name has nothing of it.
    again = made(core)
    assert [each.id for each in again.service.credentials] == [again.credential.id]
    with pytest.raises(InvalidClient):
        client_of(core, new.credential)
    assert introspect(core, client=looks, token=token) is None
    # Of several at once one has done it.
    done = together(
        *[lambda: service_accounts.delete(core, service_id=again.service.id, actor=OPERATOR)] * 3,
        lambda: service_accounts.rotate(core, service_id=again.service.id, actor=OPERATOR),
    )
    assert sorted(type(one).__name__ for one in done[:3]) == [
        "NoneType",
        "ServiceNotFound",
        "ServiceNotFound",
    ]
    assert isinstance(done[3], NewCredential | ServiceNotFound)
    assert [each.id for each in service_accounts.list_services(core, actor=OPERATOR)] == [other.service.id]


def test_the_last_use_is_written_once_an_hour(core: Core, clock: MovedClock) -> None:
    new = made(core)
    began = clock.now()
    for minutes in (0, 30, 29):
        clock.move(minutes=minutes)
        client_of(core, new.credential)
        shown = service_accounts.show(core, service_id=new.service.id, actor=OPERATOR)
        assert (shown.last_used_at, shown.credentials[0].last_used_at) == (began, began)
    clock.move(minutes=1)
    client_of(core, new.credential)
    shown = service_accounts.show(core, service_id=new.service.id, actor=OPERATOR)
    assert shown.last_used_at == shown.credentials[0].last_used_at == began + timedelta(hours=1)


def test_a_database_that_takes_no_writes_refuses_no_client(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = made(core)

    def refuse(*_: object, **__: object) -> None:
        raise client_authentication.DatabaseUnavailable

    monkeypatch.setattr(client_authentication, "_note_use", refuse)
    assert client_of(core, new.credential)
