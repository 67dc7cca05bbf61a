"""Keys listed, rotated, retired, and deleted once nothing lives under them.

A new key is published before it signs, so that every process and every relying service knows it by then;
the one before it goes on verifying until the last token under it has died.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from usersvc.core import Core, Tx, retried
from usersvc.errors import Forbidden, KeyNotFound, KeyRefused, KeysChanged, RotationPending
from usersvc.repositories.keys import StoredKey
from usersvc.security.keys import Key, Use, make_key
from usersvc.services import _keys, authorization
from usersvc.services.actor import Actor

# Those whose change nobody notices. (A throttle key that is rotated makes every counter begin anew.)
USES = (Use.ACCESS, Use.REFRESH, Use.LINK, Use.CURSOR)
# What relying services keep may be five minutes old (Cache-Control of the key set), and as much again for
# those that look late.
PUBLISHED_BEFORE = timedelta(minutes=10)
SHORTEST = timedelta(seconds=5)
"""Several times as long as a process takes to see a change."""

State = Literal["next", "signs", "verifies", "refused"]


@dataclass(frozen=True)
class KeyView:
    """A key without its secrets."""

    kid: str
    use: str
    algorithm: str
    state: State
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None
    """When it ceases or ceased to sign."""


@dataclass(frozen=True)
class Retired:
    """What died with a key."""

    sessions: int
    links: int


def list_keys(core: Core, *, actor: Actor) -> list[KeyView]:
    """All there are, by use, the newest first. Raises Forbidden."""
    authorization.require_operator(actor)
    with core.read() as tx:
        stored = sorted(tx.keys.all(), key=lambda row: row.signs_from, reverse=True)
        return sorted((_view(row, tx.now) for row in stored), key=lambda key: list(Use).index(Use(key.use)))


def rotate(
    core: Core,
    *,
    uses: Sequence[Use] = USES,
    algorithm: str | None = None,
    published_before: timedelta = PUBLISHED_BEFORE,
    actor: Actor,
) -> list[KeyView]:
    """Make the next key of each use, which signs once it was published for so long.

    `algorithm` is for access tokens; without it the settings say. All or none are made. Raises Forbidden;
    RotationPending where a next key waits already; KeysChanged where the secret key was replaced meanwhile.
    """
    if actor.kind not in ("operator", "job"):
        raise Forbidden
    now = core.clock.now()
    made = [
        make_key(use, algorithm or core.settings.tokens.algorithm, signs_from=now + published_before)
        for use in uses
    ]
    return _rotate(core, made, actor)


def rotate_due(core: Core, *, actor: Actor) -> list[KeyView]:
    """Rotate the keys that have signed for `tokens.rotation_days`; the new ones. Raises as `rotate`."""
    days = core.settings.tokens.rotation_days
    if not days:
        return []
    with core.read() as tx:
        newest = {row.use: row for row in tx.keys.all() if row.retired_at is None}
        due = [use for use in USES if newest[use].signs_from <= tx.now - timedelta(days=days)]
    return rotate(core, uses=due, actor=actor) if due else []


def retire(core: Core, *, kid: str, actor: Actor) -> Retired:
    """DANGER: from now on nothing is good that this key signed; what lives under it ends.

    With a key of refresh tokens end the sessions that were last refreshed under it, with one of links the
    links; access tokens are refused here at once, and by relying services when they fetch the key set
    again. Another one signs at once: the next key, where one waits, or one that is made now. Raises
    Forbidden, KeyNotFound, KeyRefused, KeysChanged.
    """
    authorization.require_operator(actor)
    with core.read() as tx:
        row = _find(tx, kid)
    successor = make_key(Use(row.use), core.settings.tokens.algorithm, signs_from=core.clock.now())
    return _retire(core, kid, successor, actor)


@retried
def _rotate(core: Core, made: list[Key], actor: Actor) -> list[KeyView]:
    with core.write() as tx:
        secret = _hold(core, tx)
        before = {row.use: row for row in tx.keys.all() if row.retired_at is None}
        for key in made:
            old = before[key.use]
            if old.signs_from > tx.now:
                raise RotationPending(
                    f"The next key waits already: {old.kid} signs {old.use} from "
                    f"{old.signs_from:%Y-%m-%d %H:%M:%S} UTC on."
                )
            tx.keys.retire(old.kid, at=key.signs_from)
            tx.audit(actor, "key.retired", use=old.use, kid=old.kid, at=key.signs_from)
            _keys.insert(tx, key, secret, actor)
        kids = {key.kid for key in made}
        return [_view(row, tx.now) for row in tx.keys.all() if row.kid in kids]


@retried
def _retire(core: Core, kid: str, successor: Key, actor: Actor) -> Retired:
    with core.write() as tx:
        secret = _hold(core, tx)
        row = _find(tx, kid)
        others = [
            other for other in _keys.accepted(tx.keys.all()) if other.use == row.use and other.kid != kid
        ]
        signed_until = min(row.retired_at or tx.now, tx.now)
        tx.keys.refuse(kid, at=tx.now, retired_at=signed_until)
        tx.audit(actor, "key.refused", use=row.use, kid=kid)
        signs_on = row.retired_at is None or row.retired_at > tx.now
        if signs_on and not _let_another_sign(tx, row, others):
            _keys.insert(tx, successor, secret, actor)
        return _end_what_lives_under(tx, row, signed_until)


def _let_another_sign(tx: Tx, refused: StoredKey, others: list[StoredKey]) -> bool:
    """Where one waits to sign, or was to be retired for the one that is refused; else False."""
    before = next((other for other in others if other.retired_at and other.retired_at > tx.now), None)
    waiting = next((other for other in others if other.signs_from > tx.now), None)
    if refused.signs_from > tx.now and before:
        tx.keys.sign_on(before.kid)
    elif waiting:
        tx.keys.sign_from(waiting.kid, at=tx.now)
    else:
        return False
    return True


def _end_what_lives_under(tx: Tx, row: StoredKey, until: datetime) -> Retired:
    sessions = links = 0
    if row.use == Use.REFRESH:
        sessions = tx.sessions.end_all_refreshed(row.signs_from, until, "key retired", at=tx.now)
    elif row.use == Use.LINK:
        links = tx.link_tokens.revoke_all_of_key(row.kid, at=tx.now)
    return Retired(sessions, links)


def _hold(core: Core, tx: Tx) -> str:
    """The secret key, which nobody replaces before this transaction ends."""
    check = tx.keys.hold()
    if check is None:
        raise KeysChanged
    return _keys.secret_of(core, check)


def _find(tx: Tx, kid: str) -> StoredKey:
    row = next((row for row in tx.keys.all() if row.kid == kid), None)
    if row is None:
        raise KeyNotFound
    if row.compromised_at:
        raise KeyRefused
    return row


def _view(row: StoredKey, now: datetime) -> KeyView:
    state: State = "verifies" if row.retired_at and row.retired_at <= now else "signs"
    if row.compromised_at:
        state = "refused"
    elif row.signs_from > now:
        state = "next"
    return KeyView(row.kid, row.use, row.algorithm, state, row.created_at, row.signs_from, row.retired_at)
