"""From a bearer token to the actor."""

from usersvc.core import Core
from usersvc.errors import SessionEnded
from usersvc.services.accounts import FullAccount
from usersvc.services.actor import Actor


def authenticate(core: Core, *, access_token: str, actor: Actor) -> tuple[Actor, FullAccount]:
    """Who this token speaks for, as the database has him now: a change of role or an end acts at once.

    Raises InvalidToken, TokenExpired or SessionEnded. One read of one joined row.
    """
    now = core.clock.now()
    claims = core.tokens.read_access(access_token, at=now)
    with core.glance() as tx:
        bearer = tx.sessions.bearer(claims.session_id)
    if bearer is None or bearer.id != claims.user_id or bearer.status != "active" or not bearer.lives(now):
        raise SessionEnded
    account = FullAccount.keeping(bearer, bearer.profile, bearer.attributes)
    return actor.signed_in(bearer.id, claims.session_id), account
