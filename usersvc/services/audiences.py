"""Tokens for other services: of a user, for one audience alone.

A service that is shown one can use it nowhere else, neither at usersvc nor at another service.
"""

from dataclasses import dataclass

from usersvc.core import Core
from usersvc.errors import SessionEnded, UnknownAudience
from usersvc.services.actor import Actor
from usersvc.services.sessions import mint_access


@dataclass(frozen=True)
class AudienceToken:
    access_token: str
    audience: str
    expires_in: int
    """Seconds."""


def issue_token(core: Core, *, audience: str, actor: Actor) -> AudienceToken:
    """An access token of the actor's session for this audience, good as long as one for usersvc.

    Raises UnknownAudience; SessionEnded where the session or the account is not alive any more. Changes
    nothing, so there is nothing to tell in the audit.
    """
    if audience not in core.settings.audiences:
        raise UnknownAudience
    if actor.session_id is None:
        raise SessionEnded
    with core.read() as tx:
        found = tx.sessions.with_user(actor.session_id)
        if found is None:
            raise SessionEnded
        user, session = found
        if user.id != actor.user_id or user.status != "active" or not session.lives(tx.now):
            raise SessionEnded
        grants = tx.memberships.grants_of(user.id)
    token, until = mint_access(core, user, session, grants, at=tx.now, audience=audience)
    return AudienceToken(token, audience, expires_in=int((until - tx.now).total_seconds()))
