"""Whether a token is good at this moment, and what its bearer may do now (RFC 7662)."""

from dataclasses import dataclass
from uuid import UUID

from usersvc.core import Core, Tx
from usersvc.errors import InvalidToken, TokenExpired
from usersvc.security.tokens import IssuedClaims
from usersvc.services.client_authentication import Client
from usersvc.services.permissions import permissions_of


@dataclass(frozen=True)
class Introspected:
    """A token that is good, and its bearer as the database has him now."""

    claims: IssuedClaims
    permissions: list[str]
    role: str | None
    """Of a user."""
    groups: list[str] | None
    """Of a user."""


def introspect(core: Core, *, client: Client, token: str) -> Introspected | None:
    """None for every token that is not good now, and for those that are not for this client's audiences.

    So an ended session, a deactivated account or service, a revoked credential or token count at once.
    """
    try:
        now = core.clock.now()
        claims = core.tokens.read_issued(token, audiences=client.audiences(core), at=now)
    except (InvalidToken, TokenExpired):
        return None
    with core.read() as tx:
        if claims.session_id is not None:
            return _of_user(tx, claims, claims.session_id)
        return _of_service(core, tx, claims)


def _of_user(tx: Tx, claims: IssuedClaims, session_id: UUID) -> Introspected | None:
    bearer = tx.sessions.bearer(session_id)
    if bearer is None or bearer.id != claims.subject or bearer.status != "active" or not bearer.lives(tx.now):
        return None
    grants = tx.memberships.grants_of(bearer.id)
    return Introspected(claims, permissions_of(bearer.role, grants), bearer.role, grants.groups)


def _of_service(core: Core, tx: Tx, claims: IssuedClaims) -> Introspected | None:
    found = tx.services.by_credential(claims.credential_id) if claims.credential_id else None
    if found is None or tx.services.is_revoked(claims.token_id):
        return None
    service, credential = found
    if service.id != claims.subject or service.deactivated_at is not None or not credential.lives(tx.now):
        return None
    if claims.audience not in service.audiences:
        return None
    return Introspected(
        claims, [name for name in claims.permissions if name in service.permissions], None, None
    )
