"""Revoking a token (RFC 7009): a service its own, and a user's by ending the session behind it."""

from datetime import UTC, datetime
from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import InvalidToken, MayNotRevoke, TokenExpired
from usersvc.security.tokens import IssuedClaims
from usersvc.services.client_authentication import Client


def revoke(core: Core, *, client: Client, token: str) -> None:
    """End what this token stands for. One that is unknown, expired or revoked already is fine.

    A service's own token is not good any more where it is introspected. A user's token for an audience of the
    client ends the session that it belongs to, if the client may end sessions. Raises MayNotRevoke for a good
    token of its audiences that is neither.
    """
    try:
        claims = core.tokens.read_issued(token, audiences=core.settings.audiences, at=core.clock.now())
    except (InvalidToken, TokenExpired):
        return
    if claims.session_id is None and claims.subject == client.service.id:
        _revoke_own(core, client, claims)
    elif claims.audience not in client.audiences(core):
        return
    elif claims.session_id is None or not client.service.may_end_sessions:
        raise MayNotRevoke
    else:
        _end_session(core, client, claims.subject, claims.session_id)


@retried
def _revoke_own(core: Core, client: Client, claims: IssuedClaims) -> None:
    expires_at = datetime.fromtimestamp(claims.expires_at, UTC)
    with core.write() as tx:
        if tx.services.revoke_token(claims.token_id, expires_at=expires_at):
            tx.audit(client.actor, "token.revoked", target=client.service.id, token=str(claims.token_id))


@retried
def _end_session(core: Core, client: Client, user_id: UUID, session_id: UUID) -> None:
    with core.write() as tx:
        if tx.sessions.end_one_of(user_id, session_id, "revoked by a service", at=tx.now):
            tx.audit(client.actor, "session.revoked", target=user_id, session=str(session_id))
