"""Sessions: continued with a refresh token, ended by logging out.

A session is one row. Its refresh tokens carry a step (`seq`) and a random value of the session (`rnd`,
of which the row keeps the digest); each use of the current step takes the next one.
"""

import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    DomainError,
    InvalidToken,
    KeepWrites,
    NoLongerMatches,
    SessionEnded,
    SessionNotFound,
    TokenExpired,
    TokenReused,
    UserNotFound,
)
from usersvc.repositories.directory import Filters
from usersvc.repositories.memberships import Grants
from usersvc.repositories.sessions import Session
from usersvc.repositories.users import User
from usersvc.security.secrets import digest
from usersvc.security.tokens import RefreshClaims
from usersvc.services import _limits, _login_alerts, _mails, authorization
from usersvc.services.actor import Actor
from usersvc.services.permissions import permissions_of


@dataclass(frozen=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds."""
    refresh_expires_in: int
    """Seconds."""


@dataclass(frozen=True)
class SessionView:
    """A session without its secrets."""

    id: UUID
    device: str | None
    """The User-Agent that logged in."""
    ip: str | None
    created_at: datetime
    last_used_at: datetime
    current: bool


@retried
def refresh(core: Core, *, refresh_token: str, actor: Actor) -> TokenPair:
    """Take the next step of a session.

    The same token sent again within the grace gets the same successor, so that parallel tabs and
    a lost answer log nobody out. Later than that it was copied: the session ends, its owner is told.
    Raises InvalidToken, TokenExpired, SessionEnded, TokenReused, TooManyAttempts. A refresh whose
    transaction failed can be repeated.
    """
    claims = core.tokens.read_refresh(refresh_token)
    with core.write() as tx:
        _limits.require_turn(core, tx, "refresh", actor)
        try:
            user, session = _continue(core, tx, claims, actor)
        except DomainError as error:
            raise KeepWrites(error) from None  # It counts as a request, too.
        grants = tx.memberships.grants_of(user.id)
    return mint(core, user, session, claims.rnd, grants, at=tx.now)


@retried
def log_out(core: Core, *, refresh_token: str, actor: Actor) -> None:
    """End the session of this token; a token that is old, ended, expired or no token at all is fine."""
    try:
        claims = core.tokens.read_refresh(refresh_token)
        with core.write() as tx:
            user, session = _find(tx, claims)
            if tx.sessions.end(session.id, "logged out", at=tx.now):
                by = actor.signed_in(user.id, session.id)
                tx.audit(by, "session.logged_out", target=user.id, session=str(session.id))
    except (InvalidToken, SessionEnded):
        return


@retried
def log_out_everywhere(core: Core, *, actor: Actor) -> int:
    """End all sessions of the actor, his own too; how many those were."""
    if actor.user_id is None:
        raise SessionEnded
    with core.write() as tx:
        ended = tx.sessions.end_all(actor.user_id, "logged out everywhere", at=tx.now)
        tx.audit(actor, "session.logged_out_everywhere", target=actor.user_id, sessions=ended)
    return ended


def list_own(core: Core, *, actor: Actor) -> list[SessionView]:
    """The living sessions of the actor, the most recently used first."""
    if actor.user_id is None:
        raise SessionEnded
    with core.read() as tx:
        return _living(tx, actor.user_id, actor)


def list_of(core: Core, *, user_id: UUID, actor: Actor) -> list[SessionView]:
    """The living sessions of somebody, the most recently used first. Raises Forbidden, UserNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        if tx.users.by_id(user_id) is None:
            raise UserNotFound
        return _living(tx, user_id, actor)


def _living(tx: Tx, user_id: UUID, actor: Actor) -> list[SessionView]:
    return [
        SessionView(
            id=session.id,
            device=session.user_agent,
            ip=session.ip,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            current=session.id == actor.session_id,
        )
        for session in tx.sessions.living(user_id, at=tx.now)
    ]


@retried
def end_own(core: Core, *, session_id: UUID, actor: Actor) -> None:
    """End one session of the actor. Raises SessionNotFound, also for another one's."""
    if actor.user_id is None:
        raise SessionEnded
    with core.write() as tx:
        if not tx.sessions.end_one_of(actor.user_id, session_id, "ended by its owner", at=tx.now):
            raise SessionNotFound
        tx.audit(actor, "session.ended", target=actor.user_id, session=str(session_id))


@retried
def revoke_all(core: Core, *, user_id: UUID, matching: Filters | None = None, actor: Actor) -> int:
    """End all sessions of somebody; how many those were.

    Raises Forbidden, UserNotFound; NoLongerMatches where the account has to be one of `matching` and is not.
    """
    with core.write() as tx:
        authorization.require(tx, actor, "users:write")
        user = tx.users.hold(user_id) if matching else tx.users.by_id(user_id)
        if user is None:
            raise UserNotFound
        if matching and not tx.directory.matches(user.id, matching):
            raise NoLongerMatches
        authorization.require_over(tx, actor, user)
        ended = tx.sessions.end_all(user_id, "revoked", at=tx.now)
        tx.audit(actor, "session.revoked_all", target=user_id, sessions=ended)
    return ended


def mint(core: Core, user: User, session: Session, rnd: str, grants: Grants, *, at: datetime) -> TokenPair:
    """The tokens of a session as its row stands, with what the user's role and groups grant."""
    access_token, access_until = mint_access(core, user, session, grants, at=at)
    refresh_token = core.tokens.sign_refresh(
        user_id=user.id,
        session_id=session.id,
        seq=session.seq,
        rnd=rnd,
        at=session.rotated_at,
        expires_at=session.expires_at,
    )
    return TokenPair(
        access_token,
        refresh_token,
        expires_in=int((access_until - at).total_seconds()),
        refresh_expires_in=int((session.expires_at - at).total_seconds()),
    )


def mint_access(
    core: Core, user: User, session: Session, grants: Grants, *, at: datetime, audience: str | None = None
) -> tuple[str, datetime]:
    """An access token of a session, for usersvc itself or for another audience; and until when it is good."""
    lifetime = timedelta(minutes=core.settings.tokens.access_minutes)
    until = min(at + lifetime, session.expires_at)
    token = core.tokens.sign_access(
        user_id=user.id,
        session_id=session.id,
        role=user.role,
        permissions=permissions_of(user.role, grants),
        groups=grants.groups,
        at=at,
        expires_at=until,
        audience=audience,
    )
    return token, until


def _continue(core: Core, tx: Tx, claims: RefreshClaims, actor: Actor) -> tuple[User, Session]:
    if claims.expires_at <= tx.now.timestamp():
        raise TokenExpired
    user, session = _find(tx, claims)
    if user.status != "active" or not session.lives(tx.now):
        raise SessionEnded
    return user, _step(core, tx, session, claims, actor)


def _find(tx: Tx, claims: RefreshClaims) -> tuple[User, Session]:
    found = tx.sessions.with_user(claims.session_id)
    if found is None:
        raise SessionEnded
    user, session = found
    if user.id != claims.user_id or not hmac.compare_digest(session.rnd_digest, digest(claims.rnd)):
        raise InvalidToken
    return user, session


def _step(core: Core, tx: Tx, session: Session, claims: RefreshClaims, actor: Actor) -> Session:
    """The session after this refresh: rotated now, or a moment ago by the same token."""
    idle = timedelta(days=core.settings.sessions.idle_days)
    expires_at = min(tx.now + idle, session.absolute_at)
    if tx.sessions.rotate(session.id, seq=claims.seq, at=tx.now, expires_at=expires_at):
        return replace(
            session, seq=claims.seq + 1, rotated_at=tx.now, last_used_at=tx.now, expires_at=expires_at
        )
    # Not the current step, or another refresh took it in this moment: look again at what stands now.
    user, session = _find(tx, claims)
    grace = timedelta(seconds=core.settings.tokens.refresh_grace_seconds)
    if claims.seq == session.seq - 1 and abs(tx.now - session.rotated_at) <= grace:
        return session
    if claims.seq >= session.seq or session.ended_at is not None:
        # Ended in this moment; or the token is newer than the backup that this database came from.
        raise SessionEnded
    _end_reused(core, tx, user, session, actor)
    raise KeepWrites(TokenReused())


def _end_reused(core: Core, tx: Tx, user: User, session: Session, actor: Actor) -> None:
    if not tx.sessions.end(session.id, "refresh token reused", at=tx.now):
        return
    tx.audit(
        actor, "session.ended_after_reuse", target=user.id, outcome="TOKEN_REUSED", session=str(session.id)
    )
    data = {
        "device": _login_alerts.in_words(session.user_agent),
        "logged_in_at": f"{session.created_at:%Y-%m-%d %H:%M} UTC",
    }
    _mails.queue_mail(core, tx, "session_ended", address=user.email, user_id=user.id, data=data)
