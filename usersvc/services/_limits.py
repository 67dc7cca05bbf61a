"""Steps to the limits that several use cases share. They take the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Literal

from usersvc.core import Core, Tx
from usersvc.errors import TooManyAttempts
from usersvc.security.keys import Use
from usersvc.security.limits import PerWindow, Rule
from usersvc.security.secrets import keyed_digest
from usersvc.services.actor import Actor

Asking = Literal["register", "forgot", "resend", "activate", "reset", "refresh"]


@dataclass(frozen=True)
class Limit:
    """One counter: what is counted, for whom, by which rule."""

    kind: str
    key: bytes
    rule: Rule

    def allowed_at(self, tx: Tx) -> datetime | None:
        """None where one more is allowed now, else from when on it is."""
        return self.rule.allowed_at(tx.throttle.find(self.kind, self.key, at=tx.now), tx.now)

    def take(self, tx: Tx) -> datetime | None:
        """Count one, if one more is allowed; else from when on it is."""
        counter = tx.throttle.hold(self.kind, self.key, at=tx.now)
        allowed_at = self.rule.allowed_at(counter, tx.now)
        if allowed_at is None:
            tx.throttle.save(self.kind, self.key, self.rule.counted(counter, tx.now))
        return allowed_at

    def give_back(self, tx: Tx) -> None:
        counter = tx.throttle.hold(self.kind, self.key, at=tx.now)
        tx.throttle.save(self.kind, self.key, self.rule.given_back(counter, tx.now))


def key_of(core: Core, kind: str, *parts: str) -> bytes:
    """What a counter is kept under: tells nothing without the ring's key."""
    return keyed_digest(core.key_ring.current(Use.THROTTLE).private, kind, *parts)


def too_many(allowed_at: datetime, now: datetime) -> TooManyAttempts:
    return TooManyAttempts(retry_after=max(1, ceil((allowed_at - now).total_seconds())))


def require_turn(core: Core, tx: Tx, asking: Asking, actor: Actor) -> None:
    """Count a request of this network. Raises TooManyAttempts, then nothing was counted."""
    limits = core.settings.throttle
    if not limits.enabled or actor.network is None:
        return
    rule = PerWindow(limits.requests_per_minute, timedelta(minutes=1))
    if asking == "refresh":
        rule = PerWindow(limits.refreshes_in_five_minutes, timedelta(minutes=5))
    allowed_at = Limit(asking, key_of(core, asking, actor.network), rule).take(tx)
    if allowed_at:
        raise too_many(allowed_at, tx.now)


def may_ask_for_mail(core: Core, tx: Tx, actor: Actor) -> bool:
    """Count a request that may cause a mail, whether it will or not; False over the network's day limit.

    Counting only those that do cause one would tell which those are.
    """
    limits = core.settings.throttle
    if not limits.enabled or actor.network is None:
        return True
    rule = PerWindow(limits.mails_per_network_and_day, timedelta(days=1))
    return Limit("mail network", key_of(core, "mail network", actor.network), rule).take(tx) is None


def may_mail(core: Core, tx: Tx, kind: str, email_key: str) -> bool:
    """Count a mail of this kind to this address; False within the pause or over the hour's limit."""
    limits = core.settings.throttle
    if not limits.enabled:
        return True
    pause = timedelta(seconds=limits.mail_seconds)
    rule = PerWindow(limits.mails_per_hour, timedelta(hours=1), pause)
    return Limit(f"mail {kind}", key_of(core, "mail", kind, email_key), rule).take(tx) is None
