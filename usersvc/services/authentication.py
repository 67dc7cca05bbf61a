"""From a bearer token to the actor."""

from usersvc.core import Core
from usersvc.errors import SessionEnded
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor


def authenticate(core: Core, *, access_token: str, actor: Actor) -> tuple[Actor, Account]:
    """Who this token speaks for, as the database has him now: a change of role or an end acts at once.

    Raises InvalidToken, TokenExpired or SessionEnded. One read of one joined row.
    """
    now = core.clock.now()
    claims = core.tokens.read_access(access_token, at=now)
    with core.read() as tx:
        found = tx.sessions.with_user(claims.session_id)
    if found is None:
        raise SessionEnded
    user, session = found
    if user.id != claims.user_id or user.status != "active" or not session.lives(now):
        raise SessionEnded
    return actor.signed_in(user.id, session.id), Account.of(user)
