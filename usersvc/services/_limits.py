"""Steps to the limits that several use cases share. They take the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Literal
from uuid import UUID

from usersvc.core import Core, Tx
from usersvc.errors import TooManyAttempts
from usersvc.security.keys import Use
from usersvc.security.limits import Counter, PerWindow, Rule
from usersvc.security.secrets import keyed_digest
from usersvc.services.actor import Actor

# Mails that strangers can cause at any address in the world, by registering it.
_BY_STRANGERS = frozenset({"activation", "already_registered"})
_MAILS_COUNTED = (
    "activation",
    "invitation",
    "password_reset",
    "already_registered",
    "email_change",
    "email_changed",
)

Asking = Literal[
    "register", "forgot", "resend", "activate", "reset", "refresh", "confirm", "restore", "end session"
]


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
        return self.take_and_look(tx)[0]

    def take_and_look(self, tx: Tx) -> tuple[datetime | None, datetime | None]:
        """As `take`; and from when on another one is allowed, None where now."""
        counter = self.hold(tx)
        if allowed_at := self.rule.allowed_at(counter, tx.now):
            return allowed_at, allowed_at
        counted = self.rule.counted(counter, tx.now)
        tx.throttle.save(self.kind, self.key, counted)
        return None, self.rule.allowed_at(counted, tx.now)

    def hold(self, tx: Tx) -> Counter:
        """The counter, which nobody else counts on before this transaction ends."""
        return tx.throttle.hold(self.kind, self.key, at=tx.now)

    def give_back(self, tx: Tx) -> None:
        counter = self.hold(tx)
        tx.throttle.save(self.kind, self.key, self.rule.given_back(counter, tx.now))


def key_of(core: Core, kind: str, *parts: str) -> bytes:
    """What a counter is kept under: tells nothing without the ring's key."""
    key = core.key_ring.current(Use.THROTTLE, core.clock.now())
    return keyed_digest(key.private, kind, *parts)


def too_many(allowed_at: datetime, now: datetime) -> TooManyAttempts:
    """`allowed_at` is later than `now`, so that nobody is told to come again in no time."""
    return TooManyAttempts(retry_after=ceil((allowed_at - now).total_seconds()))


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


def require_change(core: Core, tx: Tx, user_id: UUID) -> None:
    """Count what somebody changes of his own account. Raises TooManyAttempts, then nothing was counted.

    Each change stands in the audit, and webhooks are told of it before what comes later.
    """
    limits = core.settings.throttle
    if not limits.enabled:
        return
    rule = PerWindow(limits.requests_per_minute, timedelta(minutes=1))
    allowed_at = Limit("change", key_of(core, "change", user_id.hex), rule).take(tx)
    if allowed_at:
        raise too_many(allowed_at, tx.now)


def require_new_address(core: Core, tx: Tx, user_id: UUID) -> None:
    """Count an address that an account asks to get. Raises TooManyAttempts, then nothing was counted.

    Each gets a mail, which this account could send to anybody.
    """
    limits = core.settings.throttle
    if not limits.enabled:
        return
    rule = PerWindow(limits.mails_per_hour, timedelta(hours=1))
    allowed_at = Limit("new address", key_of(core, "new address", user_id.hex), rule).take(tx)
    if allowed_at:
        raise too_many(allowed_at, tx.now)


def may_alert(core: Core, tx: Tx, user_id: UUID) -> bool:
    """Count an alert of a login; False over the hour's limit. No pause: the next may be the thief's."""
    limits = core.settings.throttle
    if not limits.enabled:
        return True
    rule = PerWindow(limits.mails_per_hour, timedelta(hours=1))
    return Limit("login alert", key_of(core, "login alert", user_id.hex), rule).take(tx) is None


def may_ask_for_mail(core: Core, tx: Tx, actor: Actor) -> bool:
    """Count a request that may cause a mail, whether it will or not; False over the network's day limit.

    Counting only those that do cause one would tell which those are.
    """
    limits = core.settings.throttle
    if not limits.enabled or actor.network is None:
        return True
    rule = PerWindow(limits.mails_per_network_and_day, timedelta(days=1))
    return Limit("mail network", key_of(core, "mail network", actor.network), rule).take(tx) is None


def may_mail(core: Core, tx: Tx, kind: str, email_key: str, *, repeats_link: bool = False) -> bool:
    """Count a mail of this kind to this address; False within the pause or over the hour's limit.

    The last mail of the hour is not for one that repeats a link: strangers who ask again and again
    could otherwise leave the owner without a new one when that has expired.
    """
    limits = core.settings.throttle
    if not limits.enabled:
        return True
    pause = timedelta(seconds=limits.mail_seconds)
    most = max(1, limits.mails_per_hour - 1) if repeats_link else limits.mails_per_hour
    rule = PerWindow(most, timedelta(hours=1), pause)
    return Limit(f"mail {kind}", key_of(core, "mail", kind, email_key), rule).take(tx) is None


def forget(core: Core, tx: Tx, user_id: UUID, email_key: str) -> None:
    """Nothing was ever mailed to this address, nor changed of this account."""
    for kind in _MAILS_COUNTED:
        tx.throttle.delete(f"mail {kind}", key_of(core, "mail", kind, email_key))
    for kind in ("change", "new address", "login alert"):
        tx.throttle.delete(kind, key_of(core, kind, user_id.hex))


def mails_held_back(core: Core, tx: Tx) -> frozenset[str] | None:
    """The kinds of mail that wait because the whole instance has sent so many; None where all of them do.

    The last fifth of the ceiling is not for those that strangers cause: who forgot a password gets in.
    """
    if not core.settings.throttle.enabled:
        return frozenset()
    most = core.settings.throttle.mails_per_hour_in_all
    if _mails_in_all(core, most).allowed_at(tx):
        return None
    return _BY_STRANGERS if _mails_in_all(core, most * 4 // 5).allowed_at(tx) else frozenset()


def hold_mails(core: Core, tx: Tx) -> None:
    """Nobody else counts a mail before this transaction ends."""
    _mails_in_all(core).hold(tx)


def count_mail(core: Core, tx: Tx) -> None:
    _mails_in_all(core).take(tx)


def give_back_mail(core: Core, tx: Tx) -> None:
    _mails_in_all(core).give_back(tx)


def _mails_in_all(core: Core, most: int | None = None) -> Limit:
    rule = PerWindow(most or core.settings.throttle.mails_per_hour_in_all, timedelta(hours=1))
    return Limit("mails in all", key_of(core, "mails in all"), rule)
