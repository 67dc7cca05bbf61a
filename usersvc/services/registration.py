"""Registering, asking for another link, activating.

Nobody learns here whether an address is known: whatever stands under it, a registration takes one
bcrypt and one write and gives one answer, and a worker is woken; what differs goes to the owner by
mail. Nobody gets into an account under an address that is not theirs, whether they register first,
in between or last.
"""

from dataclasses import dataclass, replace

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    EmailTaken,
    InvalidLink,
    Overloaded,
    PasswordRequired,
    RegistrationClosed,
    UsernameTaken,
)
from usersvc.locales import Locale
from usersvc.repositories.link_tokens import LinkToken
from usersvc.repositories.users import User
from usersvc.security.secrets import digest
from usersvc.services import _events, _limits, _mails, _steps, requests
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.names import Address, parse_email, parse_username
from usersvc.webhooks.events import Event


@dataclass(frozen=True)
class _Wish:
    """What a stranger asked for, checked as far as it can be without knowing who he is."""

    address: Address
    username: str | None
    locale: Locale | None
    password_hash: str | None
    """None where the password was verified against a pending account instead."""
    met: User | None
    """The account that stood under the address when the password was hashed or verified."""
    same_password: bool = False
    """Whether the password was that of the pending account that was met."""


def register(
    core: Core,
    *,
    email: str,
    password: str,
    username: str | None = None,
    locale: Locale | None = None,
    actor: Actor,
) -> Account | None:
    """Register an address; None where a mail tells the rest, the account where activation is off.

    `locale` is the language that a new account's mails are in.

    Raises RegistrationClosed, InvalidEmail, InvalidUsername, WeakPassword, UsernameTaken, TooManyAttempts,
    Overloaded; EmailTaken only where activation is off.
    """
    settings = core.settings.registration
    if not settings.enabled:
        raise RegistrationClosed
    address = parse_email(email, special_domains=settings.special_domains)
    username = parse_username(username) if username else None
    # Counted before the password is looked at, which takes longer than everything but its hash.
    requests.count(core, "register", actor)
    core.policy.check(password, email=address.email, username=username)
    _require_free_username(core, username)
    if not settings.activation:
        return _register_active(core, address, password, actor, username=username, locale=locale)
    for attempt in (1, 2):
        wish = _hash_or_verify(core, address, password, actor, username=username, locale=locale)
        if _write_down(core, wish, actor, final=attempt == 2):
            return None
    raise Overloaded(retry_after=1)


@retried
def resend_activation(core: Core, *, email: str, actor: Actor) -> None:
    """Ask for another activation link; looks nobody up, a job does the rest. Raises InvalidEmail."""
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    with core.write() as tx:
        _limits.require_turn(core, tx, "resend", actor)
        if _limits.may_ask_for_mail(core, tx, actor):
            _mails.queue_mail(core, tx, "resend_activation", address=address.key)
        tx.audit(actor, "activation.requested")


def activate(core: Core, *, token: str, password: str | None = None, actor: Actor) -> Account:
    """Spend an activation link. `password` counts only for an account that has none, and then must be given.

    Raises InvalidLink; PasswordRequired, WeakPassword, TooManyAttempts and Overloaded, after which the link
    still works.
    """
    requests.count(core, "activate", actor)
    link, user = _find_link(core, token)
    password_hash = user.password_hash
    if password_hash is None:
        if password is None:
            raise PasswordRequired
        core.policy.check(password, email=user.email, username=user.username)
        password_hash = core.hasher.hash(password, client=actor.network)
    return _spend(core, link, user, password_hash, actor)


@retried
def _spend(core: Core, link: LinkToken, user: User, password_hash: str, actor: Actor) -> Account:
    with core.write() as tx:
        # The account before its links, as everybody holds them.
        tx.users.hold(user.id)
        if not tx.link_tokens.use(link.id, at=tx.now):
            raise InvalidLink
        if not tx.users.activate(user, email_verified_at=tx.now, password_hash=password_hash, at=tx.now):
            # Registered again in this moment: the account is another one's wish now, the link stays.
            changed = tx.users.by_id(user.id)
            raise PasswordRequired if changed and changed.status == "pending" else InvalidLink
        tx.audit(actor, "user.activated", target=user.id)
        _events.tell(tx, Event.ACTIVATED, user.id)
        activated = tx.users.by_id(user.id)
    return Account.of(activated or user)


def needs_password(core: Core, *, token: str) -> bool:
    """Whether activating with this link asks for a password too. Raises InvalidLink; spends nothing."""
    return _find_link(core, token)[1].password_hash is None


def _require_free_username(core: Core, username: str | None) -> None:
    # Before the address is looked at, so that the answer cannot depend on it.
    if username is None:
        return
    with core.read() as tx:
        if tx.users.by_username_key(username):
            raise UsernameTaken


def _hash_or_verify(
    core: Core,
    address: Address,
    password: str,
    actor: Actor,
    *,
    username: str | None,
    locale: Locale | None,
) -> _Wish:
    """One bcrypt, whoever the address belongs to: to verify what a stranger left there, else to hash."""
    with core.read() as tx:
        met = tx.users.by_email_key(address.key)
    if met and _replaceable(met) and met.password_hash:
        same = core.hasher.verify(password, met.password_hash, client=actor.network, turn="sign_up")
        return _Wish(address, username, locale, None, met, same_password=same)
    password_hash = core.hasher.hash(password, client=actor.network, turn="sign_up")
    return _Wish(address, username, locale, password_hash, met)


@retried
def _write_down(core: Core, wish: _Wish, actor: Actor, *, final: bool) -> bool:
    """False where the account changed since the password was looked at; a `final` try settles that too."""
    with core.write() as tx:
        user = replace(
            _steps.new_user(
                tx,
                wish.address,
                username=wish.username,
                locale=wish.locale,
                password_hash=wish.password_hash,
                status="pending",
            ),
            registered_at=tx.now,
        )
        may_mail = _limits.may_ask_for_mail(core, tx, actor)
        if wish.met is None and tx.users.insert(user):
            tx.wake_worker()
            tx.audit(actor, "user.registered", target=user.id)
            _events.tell(tx, Event.REGISTERED, user.id)
            if may_mail:
                _mail_activation(core, tx, user)
            return True
        known = tx.users.hold_by_email_key(wish.address.key)
        if known is None or (_replaceable(known) and _changed(known, wish.met) and not final):
            return False
        _register_again(core, tx, known, wish, actor)
        if may_mail:
            _mail_again(core, tx, known)
        return True


def _register_again(core: Core, tx: Tx, known: User, wish: _Wish, actor: Actor) -> None:
    """The table of what registering a known address does; the caller always gets the same answer."""
    tx.wake_worker()
    tx.audit(actor, "user.registered_again", target=known.id)
    _events.pretend(tx, Event.REGISTERED, known.id)
    if _replaceable(known):
        # Not verified against this one, after a second change in this moment: then it is another person.
        same_person = wish.same_password and not _changed(known, wish.met)
        tx.users.rewrite_pending(
            known,
            username=(wish.username or known.username) if same_person else None,
            locale=wish.locale or (known.locale if same_person else None),
            password_hash=known.password_hash if same_person else None,
            at=tx.now,
        )


def _mail_again(core: Core, tx: Tx, known: User) -> None:
    """What the owner of a known address hears of it."""
    if _replaceable(known):
        _mail_activation(core, tx, known)
    elif known.status == "active" and _limits.may_mail(core, tx, "already_registered", known.email_key):
        _mails.queue_mail(core, tx, "already_registered", address=known.email, user_id=known.id)
    elif known.status == "invited" and _limits.may_mail(
        core, tx, "invitation", known.email_key, repeats_link=_mails.repeats_link(tx, known, "invitation")
    ):
        _mails.queue_invitation_mail(core, tx, known)


def _register_active(
    core: Core,
    address: Address,
    password: str,
    actor: Actor,
    *,
    username: str | None,
    locale: Locale | None,
) -> Account:
    password_hash = core.hasher.hash(password, client=actor.network, turn="sign_up")
    return _write_active(core, address, password_hash, actor, username=username, locale=locale)


@retried
def _write_active(
    core: Core,
    address: Address,
    password_hash: str,
    actor: Actor,
    *,
    username: str | None,
    locale: Locale | None,
) -> Account:
    with core.write() as tx:
        user = replace(
            _steps.new_user(
                tx, address, username=username, locale=locale, password_hash=password_hash, status="active"
            ),
            registered_at=tx.now,
        )
        if not tx.users.insert(user):
            # What is left from a time with activation by mail is in nobody's way.
            known = tx.users.hold_by_email_key(address.key)
            if known is None or not _replaceable(known):
                raise EmailTaken
            _steps.take_over(tx, known, username=username, locale=locale, password_hash=password_hash)
            user = tx.users.by_id(known.id) or known
        tx.audit(actor, "user.registered", target=user.id)
        _events.tell(tx, Event.REGISTERED, user.id)
        _events.tell(tx, Event.ACTIVATED, user.id)
    return Account.of(user)


def _mail_activation(core: Core, tx: Tx, user: User) -> None:
    # Within the pause the older link keeps working: it dies only when a new one is on its way.
    if _limits.may_mail(core, tx, "activation", user.email_key):
        _mails.queue_activation_mail(core, tx, user)


def _replaceable(user: User) -> bool:
    """Only what a stranger made and nobody ever activated may be made over by the next stranger."""
    return user.status == "pending" and user.role == "user" and user.invited_at is None


def _changed(known: User, met: User | None) -> bool:
    return met is None or met.id != known.id or met.password_hash != known.password_hash


def _find_link(core: Core, token: str) -> tuple[LinkToken, User]:
    with core.read() as tx:
        link = tx.link_tokens.by_digest(digest(token), "activation")
        user = tx.users.by_id(link.user_id) if link else None
    if link is None or user is None or not link.lives(core.clock.now()) or user.status != "pending":
        raise InvalidLink
    return link, user
