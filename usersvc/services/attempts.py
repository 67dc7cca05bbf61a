"""Attempts to give an account's current password: admitted, verified, settled.

An attempt is counted before its password is looked at, so that of many at once no more are verified
than the limit allows, whichever process they come to. What follows is the same for known and unknown
addresses. A limit that cannot be written admits nobody.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NoReturn

from usersvc.core import Core, Tx, retried
from usersvc.errors import DomainError, LoginLocked, Overloaded, SessionEnded, WrongPassword
from usersvc.repositories.users import User
from usersvc.security.hashing_pool import Turn
from usersvc.security.limits import Escalating, InARow, PerWindow
from usersvc.security.passwords import is_too_large
from usersvc.services import _mails
from usersvc.services._limits import Limit, key_of, too_many
from usersvc.services.actor import Actor

# How many networks share the first 48 bits of an IPv6 address, for the limit on all of them together.
TIMES_PER_48 = 10
_FORGOTTEN = timedelta(days=30)
_ACCOUNT = "login account"


@dataclass(frozen=True)
class Attempt:
    """An attempt that was admitted."""

    user: User | None
    limits: "Limits"
    is_known_here: bool
    """Whether the account has logged in from this network before."""
    pauses: tuple[tuple[str, datetime], ...] = ()
    """What this attempt was the last one of, and until when."""

    @property
    def turn(self) -> Turn:
        """In the hashing queue."""
        return "first" if self.is_known_here else "ordinary"


@dataclass(frozen=True)
class Limits:
    """The counters that an attempt at one address from one network meets."""

    core: Core
    email_key: str
    actor: Actor

    @cached_property
    def pair(self) -> Limit:
        figures = self.core.settings.throttle
        rule = Escalating(
            figures.login_attempts,
            timedelta(minutes=figures.login_window_minutes),
            timedelta(minutes=figures.login_pause_minutes),
            timedelta(minutes=figures.login_longest_pause_minutes),
        )
        return self._limit("login", rule, self.email_key, self.actor.network or "")

    @cached_property
    def networks(self) -> list[Limit]:
        """Of the network, and of the wider one around it."""
        figures = self.core.settings.throttle
        window = timedelta(minutes=figures.login_window_minutes)
        most = figures.network_login_attempts
        found = []
        if self.actor.network:
            found.append(self._limit("login network", PerWindow(most, window), self.actor.network))
        if self.actor.wider_network:
            wider = PerWindow(most * TIMES_PER_48, window)
            found.append(self._limit("login wider", wider, self.actor.wider_network))
        return found

    @cached_property
    def account_rule(self) -> InARow:
        return InARow(self.core.settings.throttle.account_login_attempts, _FORGOTTEN)

    @cached_property
    def account_key(self) -> bytes:
        return key_of(self.core, _ACCOUNT, self.email_key)

    def _limit(self, kind: str, rule: Escalating | PerWindow, *parts: str) -> Limit:
        return Limit(kind, key_of(self.core, kind, *parts), rule)


def admit(core: Core, *, email_key: str, actor: Actor) -> Attempt:
    """Count an attempt at this address.

    Raises TooManyAttempts, LoginLocked; Overloaded where the hashing queue has no room. Nothing is
    written then: who is refused is looked up first, so that a flood does not take turns to write.
    """
    limits = Limits(core, email_key, actor)
    with core.read() as tx:
        user = tx.users.by_email_key(email_key)
        is_known_here = _is_known(core, tx, user, actor)
        attempt = Attempt(user, limits, is_known_here)
        if not core.settings.throttle.enabled:
            return attempt
        _require_allowed(tx, attempt)
    core.hashing.require_room(actor.network, attempt.turn)
    return replace(attempt, pauses=_count(core, attempt))


def verify(core: Core, attempt: Attempt, *, password: str) -> bool:
    """Whether this is the account's password; one bcrypt, also where there is no account.

    Raises Overloaded, and gives the attempt back: nothing was verified.
    """
    known = attempt.user.password_hash if attempt.user else None
    client = attempt.limits.actor.network
    try:
        return not is_too_large(password) and core.hasher.verify(
            password, known, client=client, turn=attempt.turn
        )
    except Overloaded:
        if core.settings.throttle.enabled:
            _give_back(core, attempt)
        raise


def verify_own(core: Core, *, password: str, actor: Actor, action: str) -> tuple[Attempt, User]:
    """Have the actor's own account verified, as an attempt to log in is; what comes of it is to be settled.

    Raises SessionEnded, TooManyAttempts, LoginLocked, Overloaded; WrongPassword, which is written down as
    `action`.
    """
    with core.read() as tx:
        own = tx.users.by_id(actor.user_id) if actor.user_id else None
    if own is None:
        raise SessionEnded
    attempt = admit(core, email_key=own.email_key, actor=actor)
    # The address may have become another account's in this moment.
    user = attempt.user if attempt.user and attempt.user.id == own.id else None
    if not verify(core, attempt, password=password) or user is None:
        fail(core, attempt, WrongPassword(), action=action)
    return attempt, user


@retried
def fail(core: Core, attempt: Attempt, error: DomainError, *, action: str) -> NoReturn:
    """Write the failure down, then raise it."""
    with core.write() as tx:
        note_failure(core, tx, attempt, error, action=action)
    raise error


def note_failure(core: Core, tx: Tx, attempt: Attempt, error: DomainError, *, action: str) -> None:
    """What a failed attempt leaves: audit entries; a lock, and its mail, where it was one too many."""
    user, actor = attempt.user, attempt.limits.actor
    target = user.id if user else None
    tx.audit(actor, action, target=target, outcome=error.code)
    if not core.settings.throttle.enabled:
        return
    for what, until in attempt.pauses:
        # One entry a pause, when it begins: who is refused during it writes nothing more.
        tx.audit(actor, "user.login_paused", target=target, outcome=error.code, what=what, until=until)
    counter = tx.throttle.hold(_ACCOUNT, attempt.limits.account_key, at=tx.now)
    rule = attempt.limits.account_rule
    if counter.level or not rule.is_full(counter, tx.now):
        return
    tx.throttle.save(_ACCOUNT, attempt.limits.account_key, rule.locked(counter, tx.now))
    tx.audit(actor, "user.login_locked", target=target, outcome=error.code, failures=counter.count)
    if user and user.status == "active":
        _mails.queue_mail(core, tx, "login_locked", address=user.email, user_id=user.id)


@retried
def succeed(core: Core, attempt: Attempt) -> None:
    """The password was right, whatever becomes of what it was given for."""
    with core.write() as tx:
        settle_success(core, tx, attempt)


def settle_success(core: Core, tx: Tx, attempt: Attempt) -> None:
    """The right password: the pair and the account begin anew, the network gets back only this attempt."""
    if not core.settings.throttle.enabled:
        return
    for limit in attempt.limits.networks:
        limit.give_back(tx)
    user, actor = attempt.user, attempt.limits.actor
    if user and open_login(core, tx, user, actor):
        tx.audit(actor, "user.login_unlocked", target=user.id, was_locked=True)


def remember_network(core: Core, tx: Tx, user: User, actor: Actor) -> None:
    """From here this account has logged in."""
    if actor.network:
        tx.known_networks.remember(user.id, _network_key(core, actor), at=tx.now)


def is_locked(core: Core, tx: Tx, user: User) -> bool:
    """Whether this login is locked, but for networks that it was used from. A pause is no lock."""
    rule = InARow(core.settings.throttle.account_login_attempts, _FORGOTTEN)
    key = key_of(core, _ACCOUNT, user.email_key)
    return rule.is_full(tx.throttle.find(_ACCOUNT, key, at=tx.now), tx.now)


def open_login(core: Core, tx: Tx, user: User, actor: Actor) -> bool:
    """Forget the failed attempts at this account; whether its login was locked."""
    limits = Limits(core, user.email_key, actor)
    tx.throttle.delete(limits.pair.kind, limits.pair.key)
    counter = tx.throttle.hold(_ACCOUNT, limits.account_key, at=tx.now)
    tx.throttle.delete(_ACCOUNT, limits.account_key)
    return counter.level > 0


def forget(core: Core, tx: Tx, user: User) -> None:
    """Nothing was ever tried here. What is counted by network too goes by itself, within the hour."""
    tx.throttle.delete(_ACCOUNT, key_of(core, _ACCOUNT, user.email_key))


def _require_allowed(tx: Tx, attempt: Attempt) -> None:
    for limit in (*attempt.limits.networks, attempt.limits.pair):
        allowed_at = limit.allowed_at(tx)
        if allowed_at:
            raise too_many(allowed_at, tx.now)
    if not attempt.is_known_here:
        counter = tx.throttle.find(_ACCOUNT, attempt.limits.account_key, at=tx.now)
        if attempt.limits.account_rule.is_full(counter, tx.now):
            raise LoginLocked


@retried
def _count(core: Core, attempt: Attempt) -> tuple[tuple[str, datetime], ...]:
    """The pauses that this attempt begins."""
    with core.write() as tx:
        return _take(tx, attempt)


def _take(tx: Tx, attempt: Attempt) -> tuple[tuple[str, datetime], ...]:
    # Networks, pair, account: everybody holds counters in this order, so that none wait for each other.
    pauses = []
    for limit in (*attempt.limits.networks, attempt.limits.pair):
        allowed_at, until = limit.take_and_look(tx)
        if allowed_at:
            raise too_many(allowed_at, tx.now)
        if until:
            pauses.append((limit.kind, until))
    rule, key = attempt.limits.account_rule, attempt.limits.account_key
    counter = tx.throttle.hold(_ACCOUNT, key, at=tx.now)
    if rule.is_full(counter, tx.now) and not attempt.is_known_here:
        raise LoginLocked
    tx.throttle.save(_ACCOUNT, key, rule.counted(counter, tx.now))
    return tuple(pauses)


@retried
def _give_back(core: Core, attempt: Attempt) -> None:
    key = attempt.limits.account_key
    with core.write() as tx:
        for limit in (*attempt.limits.networks, attempt.limits.pair):
            limit.give_back(tx)
        counter = tx.throttle.hold(_ACCOUNT, key, at=tx.now)
        tx.throttle.save(_ACCOUNT, key, attempt.limits.account_rule.given_back(counter, tx.now))


def _is_known(core: Core, tx: Tx, user: User | None, actor: Actor) -> bool:
    if user is None or actor.network is None:
        return False
    since: datetime = tx.now - timedelta(days=core.settings.throttle.known_network_days)
    return tx.known_networks.knows(user.id, _network_key(core, actor), since=since)


def _network_key(core: Core, actor: Actor) -> bytes:
    return key_of(core, "known network", actor.network or "")
