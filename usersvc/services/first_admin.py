"""Making an administrator from the shell: the first one cannot be made otherwise."""

from dataclasses import dataclass, replace

from usersvc.core import Core, Tx, retried
from usersvc.errors import EmailTaken, NotActive, UserNotFound
from usersvc.repositories.users import User
from usersvc.services import _events, _steps, authorization
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.names import Address, parse_email, parse_username
from usersvc.webhooks.events import Event


@dataclass(frozen=True)
class AdminPlan:
    """What making an administrator of an address will do."""

    email: str
    existing: Account | None

    @property
    def needs_password(self) -> bool:
        """Nobody's password is replaced but that of an account which was never activated."""
        return self.existing is None or self.existing.status in ("pending", "invited")


def there_is_an_admin(core: Core) -> bool:
    with core.read() as tx:
        return tx.users.there_is_an_active_admin()


def plan_admin(core: Core, *, email: str) -> AdminPlan:
    """What `create_admin` would meet. Raises InvalidEmail, NotActive."""
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    with core.read() as tx:
        user = tx.users.by_email_key(address.key)
    if user and user.status == "deactivated":
        raise NotActive("This account is deactivated, so it cannot be made an administrator.")
    return AdminPlan(address.email, Account.of(user) if user else None)


def create_admin(
    core: Core, *, email: str, password: str | None, username: str | None = None, actor: Actor
) -> Account:
    """An active administrator under this address.

    An active account is promoted and keeps its password. Whatever a stranger left under the address
    before activating it (password, username, links) is void; `password` takes its place, under the
    same policy as everywhere. Raises InvalidEmail, InvalidUsername, WeakPassword, UsernameTaken, NotActive,
    Forbidden.
    """
    authorization.require_operator(actor)
    address = parse_email(email, special_domains=core.settings.registration.special_domains)
    username = parse_username(username) if username else None
    plan = plan_admin(core, email=email)
    password_hash = None
    if plan.needs_password:
        core.policy.check(password or "", email=address.email, username=username)
        password_hash = core.hasher.hash(password or "")
    return _make_admin(core, plan, address, username=username, password_hash=password_hash, actor=actor)


@retried
def _make_admin(
    core: Core,
    plan: AdminPlan,
    address: Address,
    *,
    username: str | None,
    password_hash: str | None,
    actor: Actor,
) -> Account:
    with core.write() as tx:
        user = tx.users.hold_by_email_key(address.key)
        if plan.needs_password == (user is not None and user.status == "active"):
            raise NotActive("This account changed in this moment; try again.")
        if user is None:
            user = _insert_admin(tx, address, username, password_hash, actor)
        elif user.status == "active":
            _promote(tx, user, actor)
        else:
            _take_over(tx, user, username, password_hash, actor)
        made = tx.users.by_id(user.id)
    if made is None:
        raise UserNotFound
    return Account.of(made)


def _insert_admin(
    tx: Tx, address: Address, username: str | None, password_hash: str | None, actor: Actor
) -> User:
    admin = replace(
        # email_verified_at stays empty: nobody has shown yet that the mailbox is theirs; a mailed link will.
        _steps.new_user(tx, address, username=username, password_hash=password_hash, status="active"),
        role="admin",
    )
    if not tx.users.insert(admin):
        raise EmailTaken
    tx.audit(actor, "user.created", target=admin.id, role="admin")
    _events.tell(tx, Event.REGISTERED, admin.id)
    _events.tell(tx, Event.ACTIVATED, admin.id)
    return admin


def _promote(tx: Tx, user: User, actor: Actor) -> None:
    if user.role == "admin":
        return
    tx.users.set_role(user.id, "admin", at=tx.now)
    tx.audit(actor, "user.role_changed", target=user.id, before=user.role, after="admin")
    _events.tell(tx, Event.ROLE_CHANGED, user.id)


def _take_over(tx: Tx, user: User, username: str | None, password_hash: str | None, actor: Actor) -> None:
    _steps.take_over(tx, user, username=username, password_hash=password_hash)
    tx.users.set_role(user.id, "admin", at=tx.now)
    tx.audit(actor, "user.activated", target=user.id)
    _events.tell(tx, Event.ACTIVATED, user.id)
    tx.audit(actor, "user.role_changed", target=user.id, before=user.role, after="admin")
    _events.tell(tx, Event.ROLE_CHANGED, user.id)
