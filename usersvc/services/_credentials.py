"""Steps to the credentials of services. They take the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from usersvc.core import Tx
from usersvc.errors import CredentialNotFound, TooManyCredentials
from usersvc.repositories.services import Credential
from usersvc.security.credentials import hint_of, new_credential
from usersvc.security.secrets import digest, new_id

_MOST_LIVING = 3


@dataclass(frozen=True)
class CredentialView:
    """A credential without its secret."""

    id: UUID
    hint: str
    """The last four characters."""
    works: bool
    """Neither revoked nor expired."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the hour."""
    revoked_at: datetime | None

    @classmethod
    def of(cls, credential: Credential, now: datetime) -> Self:
        return cls(
            id=credential.id,
            hint=credential.hint,
            works=credential.lives(now),
            created_at=credential.created_at,
            expires_at=credential.expires_at,
            last_used_at=credential.last_used_at,
            revoked_at=credential.revoked_at,
        )


@dataclass(frozen=True)
class NewCredential:
    """The only moment at which its secret is known."""

    id: UUID
    client_id: UUID
    client_secret: str
    expires_at: datetime | None


def make(tx: Tx, service_id: UUID, *, expires_days: int) -> NewCredential:
    """0 days: without an end. Raises TooManyCredentials."""
    living = [each for each in tx.services.credentials(service_id) if each.lives(tx.now)]
    if len(living) >= _MOST_LIVING:
        raise TooManyCredentials
    secret = new_credential()
    made = Credential(
        id=new_id(tx.now),
        service_id=service_id,
        digest=digest(secret),
        hint=hint_of(secret),
        created_at=tx.now,
        expires_at=tx.now + timedelta(days=expires_days) if expires_days else None,
        last_used_at=None,
        revoked_at=None,
    )
    tx.services.insert_credential(made)
    return NewCredential(made.id, service_id, secret, made.expires_at)


def end_soon(tx: Tx, service_id: UUID, *, hours: int) -> datetime:
    """Let the living ones work for so long at most; until when that is."""
    until = tx.now + timedelta(hours=hours)
    for each in tx.services.credentials(service_id):
        if each.lives(tx.now) and (each.expires_at is None or each.expires_at > until):
            tx.services.end_credential(each.id, expires_at=until)
    return until


def revoke(tx: Tx, service_id: UUID, credential_id: UUID) -> None:
    """Raises CredentialNotFound."""
    if not tx.services.revoke_credential(service_id, credential_id, at=tx.now):
        raise CredentialNotFound
