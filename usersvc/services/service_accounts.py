"""Service accounts: programs that act for themselves, with permissions of relying services alone.

A service has a name for people, an id that is its client id (RFC 6749), and credentials, of which each is
shown once, when it is made. What it may do at usersvc is to ask for tokens, look into them and revoke them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    InvalidDescription,
    InvalidPermission,
    InvalidServiceName,
    ServiceNameTaken,
    ServiceNotFound,
    UnknownAudience,
)
from usersvc.repositories import services
from usersvc.security.secrets import new_id
from usersvc.services import _credentials, authorization
from usersvc.services._credentials import CredentialView, NewCredential
from usersvc.services.actor import Actor
from usersvc.services.permissions import permission_name

# Their names stand twice in each token, which has to fit into a header.
MOST_PERMISSIONS = 32
LONGEST_DESCRIPTION = 200
EXPIRES_DAYS = 365
LONGEST_EXPIRES_DAYS = 3650

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")


@dataclass(frozen=True)
class ServiceView:
    """A service without what must not leave the services."""

    id: UUID
    name: str
    description: str
    permissions: list[str]
    audiences: list[str]
    may_end_sessions: bool
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None
    """To the hour."""
    credentials: list[CredentialView]
    """The newest first."""

    @classmethod
    def of(cls, tx: Tx, service: services.Service) -> Self:
        return cls(
            id=service.id,
            name=service.name,
            description=service.description,
            permissions=service.permissions,
            audiences=service.audiences,
            may_end_sessions=service.may_end_sessions,
            is_active=service.deactivated_at is None,
            created_at=service.created_at,
            updated_at=service.updated_at,
            last_used_at=service.last_used_at,
            credentials=[CredentialView.of(each, tx.now) for each in tx.services.credentials(service.id)],
        )


@dataclass(frozen=True)
class NewService:
    service: ServiceView
    credential: NewCredential


@retried
def create(
    core: Core,
    *,
    name: str,
    permissions: Sequence[str],
    audiences: Sequence[str] = (),
    description: str = "",
    may_end_sessions: bool = False,
    expires_days: int = EXPIRES_DAYS,
    actor: Actor,
) -> NewService:
    """Make a service with its first credential, which works for `expires_days`; 0: without an end.

    Raises Forbidden, InvalidServiceName, InvalidPermission, ReservedPermission, UnknownAudience,
    InvalidDescription, ServiceNameTaken.
    """
    values: dict[str, Any] = {
        "permissions": permission_list(permissions),
        "audiences": audience_list(core, audiences),
        "description": one_line(description),
        "may_end_sessions": may_end_sessions,
    }
    with core.write() as tx:
        authorization.require(tx, actor, "services:write")
        service = _new_service(tx, service_name(name), values)
        if not tx.services.insert(service):
            raise ServiceNameTaken
        credential = _credentials.make(tx, service.id, expires_days=expires_days)
        tx.audit(
            actor,
            "service.created",
            target=service.id,
            name=service.name,
            credential=str(credential.id),
            expires_at=credential.expires_at,
            **values,
        )
        return NewService(ServiceView.of(tx, service), credential)


@retried
def change(
    core: Core,
    *,
    service_id: UUID,
    permissions: Sequence[str] | None = None,
    audiences: Sequence[str] | None = None,
    description: str | None = None,
    may_end_sessions: bool | None = None,
    actor: Actor,
) -> ServiceView:
    """Replace what is given, whole; tokens that were issued before keep what they say until they expire.

    Raises Forbidden, ServiceNotFound, InvalidPermission, ReservedPermission, UnknownAudience,
    InvalidDescription.
    """
    given: dict[str, Any] = {
        "permissions": None if permissions is None else permission_list(permissions),
        "audiences": None if audiences is None else audience_list(core, audiences),
        "description": None if description is None else one_line(description),
        "may_end_sessions": may_end_sessions,
    }
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        before = vars(service)
        changed = {key: value for key, value in given.items() if value is not None and value != before[key]}
        if changed:
            tx.services.change(service.id, **changed, updated_at=tx.now)
            was = {key: before[key] for key in changed}
            tx.audit(actor, "service.changed", target=service.id, before=was, after=changed)
        return _as_it_stands(tx, service)


@retried
def deactivate(core: Core, *, service_id: UUID, actor: Actor) -> ServiceView:
    """Refuse all its credentials, and its tokens where they are introspected, at once; the rows stay.

    A service that only checks tokens by their signature takes them until they expire. Raises Forbidden,
    ServiceNotFound.
    """
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        if service.deactivated_at is None:
            tx.services.change(service.id, deactivated_at=tx.now, updated_at=tx.now)
            tx.audit(actor, "service.deactivated", target=service.id)
        return _as_it_stands(tx, service)


@retried
def activate(core: Core, *, service_id: UUID, actor: Actor) -> ServiceView:
    """Let a deactivated service in again, with the credentials that are neither revoked nor expired.

    Raises Forbidden, ServiceNotFound.
    """
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        if service.deactivated_at is not None:
            tx.services.change(service.id, deactivated_at=None, updated_at=tx.now)
            tx.audit(actor, "service.activated", target=service.id)
        return _as_it_stands(tx, service)


@retried
def delete(core: Core, *, service_id: UUID, actor: Actor) -> None:
    """Delete a service with its credentials, for good; its name is free. What the audit says of it stays.

    Its tokens are refused where they are introspected, at once; another service of this name has another
    client id. Raises Forbidden, ServiceNotFound.
    """
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        tx.services.delete(service.id)
        tx.audit(actor, "service.deleted", target=service.id, name=service.name)


@retried
def rotate(
    core: Core, *, service_id: UUID, expires_days: int = EXPIRES_DAYS, overlap_hours: int = 24, actor: Actor
) -> NewCredential:
    """Make another credential; those before it work for `overlap_hours` more, or to their own earlier end.

    Raises Forbidden, ServiceNotFound, TooManyCredentials.
    """
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        overlap_until = _credentials.end_soon(tx, service.id, hours=overlap_hours)
        made = _credentials.make(tx, service.id, expires_days=expires_days)
        tx.audit(
            actor,
            "service.rotated",
            target=service.id,
            credential=str(made.id),
            expires_at=made.expires_at,
            overlap_until=overlap_until,
        )
        return made


@retried
def revoke_credential(core: Core, *, service_id: UUID, credential_id: UUID, actor: Actor) -> None:
    """Refuse one credential, and the tokens it was used for where they are introspected, at once.

    Raises Forbidden, ServiceNotFound; CredentialNotFound, also for one that was revoked before.
    """
    with core.write() as tx:
        service = _hold(tx, actor, service_id)
        _credentials.revoke(tx, service.id, credential_id)
        tx.audit(actor, "service.credential_revoked", target=service.id, credential=str(credential_id))


def list_services(core: Core, *, actor: Actor) -> list[ServiceView]:
    """All of them, by name. Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "services:read")
        return [ServiceView.of(tx, service) for service in tx.services.all()]


def show(core: Core, *, service_id: UUID, actor: Actor) -> ServiceView:
    """Raises Forbidden, ServiceNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "services:read")
        return _view(tx, tx.services.by_id(service_id), ServiceNotFound())


def find(core: Core, *, name: str, actor: Actor) -> ServiceView:
    """The service with this name or id. Raises Forbidden, ServiceNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "services:read")
        try:
            found = tx.services.by_id(UUID(name))
        except ValueError:
            found = tx.services.by_name(name.lower())
        return _view(tx, found, ServiceNotFound(f"There is no service {name}."))


def _view(tx: Tx, found: services.Service | None, missing: ServiceNotFound) -> ServiceView:
    if found is None:
        raise missing
    return ServiceView.of(tx, found)


def _hold(tx: Tx, actor: Actor, service_id: UUID) -> services.Service:
    """The service to act on, kept as it is until the transaction ends."""
    authorization.require(tx, actor, "services:write")
    service = tx.services.hold(service_id)
    if service is None:
        raise ServiceNotFound
    # Again, after waiting for who changed something here before.
    authorization.require(tx, actor, "services:write")
    return service


def _as_it_stands(tx: Tx, service: services.Service) -> ServiceView:
    return ServiceView.of(tx, tx.services.by_id(service.id) or service)


def _new_service(tx: Tx, name: str, values: dict[str, Any]) -> services.Service:
    return services.Service(
        id=new_id(tx.now),
        name=name,
        created_at=tx.now,
        updated_at=tx.now,
        deactivated_at=None,
        last_used_at=None,
        **values,
    )


def service_name(text: str) -> str:
    """Lower case, so that two spellings are one name. Raises InvalidServiceName."""
    name = text.lower() if text.isascii() else ""
    if not _NAME.fullmatch(name) or _UUID.fullmatch(name):
        raise InvalidServiceName
    return name


def permission_list(names: Sequence[str]) -> list[str]:
    """Sorted, each once. Raises InvalidPermission, ReservedPermission."""
    found = sorted({permission_name(name) for name in names})
    if len(found) > MOST_PERMISSIONS:
        raise InvalidPermission(f"A service has at most {MOST_PERMISSIONS} permissions.")
    return found


def audience_list(core: Core, names: Sequence[str]) -> list[str]:
    """Sorted, each once. Raises UnknownAudience."""
    for name in names:
        if name not in core.settings.audiences:
            raise UnknownAudience
    return sorted(set(names))


def one_line(text: str) -> str:
    """A description as it is. Raises InvalidDescription."""
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise InvalidDescription
    return text
