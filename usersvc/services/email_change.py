"""Changes of address: asked for with the password, confirmed by the new mailbox, undone by the old one.

Nobody learns here whether an address is known: asking writes the same rows for each, and a job that nobody
waits for looks who has it. While there is a way back, the old address is nobody else's.
"""

from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import (
    EmailTaken,
    EmailUnchanged,
    InvalidCredentials,
    InvalidLink,
    KeepWrites,
    NotActive,
    TooManyAttempts,
    UserNotFound,
)
from usersvc.repositories.email_changes import EmailChange
from usersvc.repositories.link_tokens import LinkToken
from usersvc.repositories.users import User
from usersvc.security.secrets import digest
from usersvc.services import (
    _email_change,
    _events,
    _limits,
    _mails,
    _recovery,
    attempts,
    authorization,
    requests,
)
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.names import Address, parse_email
from usersvc.webhooks.events import Event

_FAILED = "user.email_change_failed"


def ask(core: Core, *, email: str, password: str, actor: Actor) -> None:
    """Ask to have the actor's own address changed; the new one gets a link to confirm, if it may.

    The password is an attempt as a login is one. Raises InvalidEmail, EmailUnchanged, WrongPassword,
    TooManyAttempts, LoginLocked, Overloaded; InvalidCredentials where the password was replaced meanwhile.
    """
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    attempt, user = attempts.verify_own(core, password=password, actor=actor, action=_FAILED)
    _write_down(core, attempt, user, address, actor)


@retried
def _write_down(core: Core, attempt: attempts.Attempt, user: User, address: Address, actor: Actor) -> None:
    with core.write() as tx:
        held = tx.users.hold(user.id)
        if held is None or held.status != "active" or held.password_hash != user.password_hash:
            error = InvalidCredentials("The password was changed meanwhile; log in again.")
            attempts.note_failure(core, tx, attempt, error, action=_FAILED)
            raise KeepWrites(error)
        attempts.settle_success(core, tx, attempt)
        try:
            _require_new(held, address)
            _limits.require_new_address(core, tx, held.id)
        except (EmailUnchanged, TooManyAttempts) as error:
            raise KeepWrites(error) from None  # The password was right, whatever becomes of the rest.
        change = _email_change.ask(tx, held, address, actor)
        if _limits.may_ask_for_mail(core, tx, actor):
            _mails.queue_mail(
                core,
                tx,
                _email_change.REQUEST,
                address=address.key,
                user_id=held.id,
                data={"change": str(change.id)},
            )
        tx.audit(actor, "user.email_change_requested", target=held.id)


@retried
def ask_for(core: Core, *, user_id: UUID, email: str, actor: Actor) -> None:
    """Mail a link to confirm a new address because an operator says so.

    Raises Forbidden, UserNotFound, InvalidEmail, EmailUnchanged, EmailTaken; NotActive for any but an active
    account.
    """
    authorization.require_operator(actor)
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    with core.write() as tx:
        user = _hold(tx, user_id)
        _require_new(user, address)
        _require_free(tx, user, address)
        change = _email_change.ask(tx, user, address, actor)
        link = _mails.issue_link(
            core, tx, user, "email_change", _email_change.CONFIRM_WITHIN, subject_id=change.id
        )
        _mails.queue_mail(
            core, tx, "email_change", address=address.email, user_id=user.id, link_token_id=link.id
        )
        tx.audit(actor, "user.email_change_requested", target=user.id)


@retried
def set_for(core: Core, *, user_id: UUID, email: str, actor: Actor) -> Account:
    """Change an address at once, as if it were confirmed: the operator knows whose it is. All sessions end.

    The old address is told, with a way back. Raises as `ask_for`.
    """
    authorization.require_operator(actor)
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    with core.write() as tx:
        user = _hold(tx, user_id)
        _require_new(user, address)
        change = _email_change.ask(tx, user, address, actor)
        _email_change.move(core, tx, user, change, actor)
        return Account.of(tx.users.by_id(user.id) or user)


def confirm(core: Core, *, token: str, actor: Actor) -> Account:
    """Spend the link in the new mailbox; from now on this is the account's address.

    Raises InvalidLink, TooManyAttempts; EmailTaken where it became somebody else's, which spends the link.
    """
    requests.count(core, "confirm", actor)
    return _confirm(core, require_link(core, token=token, purpose="email_change"), actor)


@retried
def _confirm(core: Core, link: LinkToken, actor: Actor) -> Account:
    with core.write() as tx:
        user, change = _spend(tx, link)
        if not change.is_pending(tx.now):
            raise InvalidLink
        _email_change.move(core, tx, user, change, actor)
        return Account.of(tx.users.by_id(user.id) or user)


def restore(core: Core, *, token: str, actor: Actor) -> None:
    """Spend the way back in the old mailbox: its address again, and a link there to set a password.

    The password is void, every session ends, and whatever the address was changed to since is over.
    Raises InvalidLink, TooManyAttempts, EmailTaken.
    """
    requests.count(core, "restore", actor)
    _restore(core, require_link(core, token=token, purpose="email_revert"), actor)


@retried
def _restore(core: Core, link: LinkToken, actor: Actor) -> None:
    with core.write() as tx:
        user, change = _spend(tx, link)
        if not change.leads_back(tx.now):
            raise InvalidLink
        restored = _recovery.restore_address(tx, user, change)
        ended = _recovery.shut_out(core, tx, restored, "address restored", actor)
        tx.audit(actor, "user.email_restored", target=user.id, sessions=ended)
        _events.tell(tx, Event.CHANGED, user.id)


def require_link(core: Core, *, token: str, purpose: str) -> LinkToken:
    """The link that lives and is for this; spends nothing. Raises InvalidLink."""
    with core.read() as tx:
        link = tx.link_tokens.by_digest(digest(token), purpose)
        user = tx.users.by_id(link.user_id) if link else None
    if link is None or user is None or not link.lives(core.clock.now()) or user.status != "active":
        raise InvalidLink
    return link


def _spend(tx: Tx, link: LinkToken) -> tuple[User, EmailChange]:
    """Whose it is, held before the link as everybody holds them, and the change that it is about."""
    user = tx.users.hold(link.user_id)
    change = tx.email_changes.by_id(link.subject_id) if link.subject_id else None
    if user is None or user.status != "active" or change is None:
        raise InvalidLink
    if not tx.link_tokens.use(link.id, at=tx.now):
        raise InvalidLink
    return user, change


def _hold(tx: Tx, user_id: UUID) -> User:
    user = tx.users.hold(user_id)
    if user is None:
        raise UserNotFound
    if user.status != "active":
        raise NotActive(f"This account is {user.status}: only an active one changes its address.")
    return user


def _require_new(user: User, address: Address) -> None:
    if address.key == user.email_key:
        raise EmailUnchanged


def _require_free(tx: Tx, user: User, address: Address) -> None:
    """For an operator, who may know; what is true of it later the confirmation decides."""
    known = tx.users.by_email_key(address.key)
    if known and not _email_change.is_replaceable(known):
        raise EmailTaken
    if tx.email_changes.reserving_for_another(address.key, user.id, at=tx.now):
        raise EmailTaken("Another account had this address, and can have it back for a while.")
