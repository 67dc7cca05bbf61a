"""Service accounts, their credentials, and the tokens that were revoked."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from usersvc.db.models import revoked_tokens, service_credentials, services
from usersvc.db.types import insert_if_absent
from usersvc.repositories.purging import delete_some


@dataclass(frozen=True)
class Service:
    id: UUID
    """The client id."""
    name: str
    description: str
    permissions: list[str]
    audiences: list[str]
    may_end_sessions: bool
    created_at: datetime
    updated_at: datetime
    deactivated_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class Credential:
    id: UUID
    service_id: UUID
    digest: bytes
    hint: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def lives(self, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


_COLUMNS = [services.c[name] for name in Service.__dataclass_fields__]
_OF_CREDENTIAL = [service_credentials.c[name] for name in Credential.__dataclass_fields__]
# Built once: to build them took longer than to run them.
_BOTH = select(*_COLUMNS, *_OF_CREDENTIAL).join_from(
    service_credentials, services, service_credentials.c.service_id == services.c.id
)
_BY_DIGEST = _BOTH.where(service_credentials.c.digest == bindparam("digest"))
_BY_CREDENTIAL = _BOTH.where(service_credentials.c.id == bindparam("id"))
_BY_ID = select(*_COLUMNS).where(services.c.id == bindparam("id"))
_IS_REVOKED = select(revoked_tokens.c.id).where(revoked_tokens.c.id == bindparam("id"))


class Services:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Service]:
        found = select(*_COLUMNS).order_by(services.c.name)
        return [Service(*row) for row in self._connection.execute(found)]

    def by_id(self, service_id: UUID) -> Service | None:
        row = self._connection.execute(_BY_ID, {"id": service_id}).first()
        return Service(*row) if row else None

    def by_name(self, name: str) -> Service | None:
        row = self._connection.execute(select(*_COLUMNS).where(services.c.name == name)).first()
        return Service(*row) if row else None

    def hold(self, service_id: UUID) -> Service | None:
        """The service, which no other transaction changes before this one ends."""
        row = self._connection.execute(_BY_ID.with_for_update(), {"id": service_id}).first()
        return Service(*row) if row else None

    def by_digest(self, digest: bytes) -> tuple[Service, Credential] | None:
        return self._both(_BY_DIGEST, digest=digest)

    def by_credential(self, credential_id: UUID) -> tuple[Service, Credential] | None:
        return self._both(_BY_CREDENTIAL, id=credential_id)

    def insert(self, service: Service) -> bool:
        """False where the name is taken."""
        return insert_if_absent(self._connection, services, vars(service), on=["name"])

    def delete(self, service_id: UUID) -> None:
        """With its credentials."""
        self._connection.execute(delete(services).where(services.c.id == service_id))

    def change(self, service_id: UUID, **values: Any) -> None:
        self._connection.execute(update(services).where(services.c.id == service_id).values(**values))

    def credentials(self, service_id: UUID) -> list[Credential]:
        """The newest first."""
        found = (
            select(*_OF_CREDENTIAL)
            .where(service_credentials.c.service_id == service_id)
            .order_by(service_credentials.c.created_at.desc(), service_credentials.c.id.desc())
        )
        return [Credential(*row) for row in self._connection.execute(found)]

    def insert_credential(self, credential: Credential) -> None:
        self._connection.execute(insert(service_credentials).values(**vars(credential)))

    def end_credential(self, credential_id: UUID, *, expires_at: datetime) -> None:
        self._change_credential(credential_id, expires_at=expires_at)

    def revoke_credential(self, service_id: UUID, credential_id: UUID, *, at: datetime) -> bool:
        """False where the service has no such credential, or that was revoked before."""
        revoked = (
            update(service_credentials)
            .where(
                service_credentials.c.id == credential_id,
                service_credentials.c.service_id == service_id,
                service_credentials.c.revoked_at.is_(None),
            )
            .values(revoked_at=at)
        )
        return self._connection.execute(revoked).rowcount == 1

    def note_use(self, credential: Credential, *, at: datetime) -> None:
        self._change_credential(credential.id, last_used_at=at)
        self.change(credential.service_id, last_used_at=at)

    def is_revoked(self, token_id: UUID) -> bool:
        return self._connection.execute(_IS_REVOKED, {"id": token_id}).first() is not None

    def revoke_token(self, token_id: UUID, *, expires_at: datetime) -> bool:
        """False where it was revoked before."""
        row = {"id": token_id, "expires_at": expires_at}
        return insert_if_absent(self._connection, revoked_tokens, row, on=["id"])

    def count_revoked_before(self, before: datetime) -> int:
        counted = select(func.count()).select_from(revoked_tokens).where(revoked_tokens.c.expires_at < before)
        return self._connection.execute(counted).scalar_one()

    def delete_revoked_before(self, before: datetime, *, limit: int) -> int:
        expired = revoked_tokens.c.expires_at < before
        return len(delete_some(self._connection, revoked_tokens, expired, limit=limit))

    def _change_credential(self, credential_id: UUID, **values: Any) -> None:
        changed = update(service_credentials).where(service_credentials.c.id == credential_id)
        self._connection.execute(changed.values(**values))

    def _both(self, statement: Any, **which: Any) -> tuple[Service, Credential] | None:
        row = self._connection.execute(statement, which).first()
        size = len(_COLUMNS)
        return (Service(*row[:size]), Credential(*row[size:])) if row else None
