"""Service accounts, and what they ask for."""

from collections.abc import Iterator
from typing import Any

from tests.audited.case import ROOT, World, told
from tests.factories import (
    OPERATOR,
    STRANGER,
    active,
    an_admin,
    signed_in,
)
from usersvc.services import (
    audiences,
    client_authentication,
    client_credentials,
    revocation,
    service_accounts,
)
from usersvc.services.client_authentication import Client


def _service(w: World, **more: Any) -> service_accounts.NewService:
    w.core = w.make_core(tokens__audiences="billing")
    return service_accounts.create(
        w.core, name="billing", permissions=["orders:read"], audiences=["billing"], actor=OPERATOR, **more
    )


def _client(w: World, made: service_accounts.NewService) -> Client:
    return client_authentication.authenticate_client(
        w.core,
        client_id=str(made.service.id),
        client_secret=made.credential.client_secret,
        actor=STRANGER,
    )


@told(service_accounts.create, "service.created | user root |  | ok")
def create_a_service(w: World) -> Iterator[None]:
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    service_accounts.create(w.core, name="billing", permissions=["orders:read"], actor=by)


@told(service_accounts.change, "service.changed | operator tester |  | ok")
def change_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.change(w.core, service_id=made.service.id, permissions=[], actor=OPERATOR)


@told(service_accounts.rotate, "service.rotated | operator tester |  | ok")
def rotate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.rotate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(service_accounts.revoke_credential, "service.credential_revoked | operator tester |  | ok")
def revoke_a_credential(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.revoke_credential(
        w.core, service_id=made.service.id, credential_id=made.credential.id, actor=OPERATOR
    )


@told(service_accounts.deactivate, "service.deactivated | operator tester |  | ok")
def deactivate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.deactivate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(service_accounts.activate, "service.activated | operator tester |  | ok")
def activate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    service_accounts.deactivate(w.core, service_id=made.service.id, actor=OPERATOR)
    yield
    service_accounts.activate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(service_accounts.delete, "service.deleted | operator tester |  | ok")
def delete_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.delete(w.core, service_id=made.service.id, actor=OPERATOR)


@told(client_authentication.authenticate_client)
def use_a_credential_for_the_first_time(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    _client(w, made)


@told(
    client_authentication.authenticate_client,
    "service.authentication_failed | anonymous |  | INVALID_CLIENT",
)
def use_a_credential_that_was_revoked(w: World) -> Iterator[None]:
    made = _service(w)
    service_accounts.revoke_credential(
        w.core, service_id=made.service.id, credential_id=made.credential.id, actor=OPERATOR
    )
    yield
    _client(w, made)


@told(revocation.revoke, "token.revoked | service billing |  | ok")
def revoke_a_service_token(w: World) -> Iterator[None]:
    client = _client(w, _service(w))
    token = client_credentials.issue(w.core, client=client, scope=None, audience=None).access_token
    yield
    revocation.revoke(w.core, client=client, token=token)


@told(revocation.revoke, "session.revoked | service billing | ada | ok")
def revoke_a_user_token(w: World) -> Iterator[None]:
    client = _client(w, _service(w, may_end_sessions=True))
    active(w.core)
    token = audiences.issue_token(w.core, audience="billing", actor=signed_in(w.core)).access_token
    yield
    revocation.revoke(w.core, client=client, token=token)
