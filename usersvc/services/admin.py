"""What administrators and operators do to an account: show, activate and deactivate it, give it a role.

Where `matching` is given, the account has to be one of these in the transaction that changes it, else
NoLongerMatches is raised: between the list that it was found in and its turn somebody else may have acted.
"""

from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import LastAdmin, NotActive, OwnAccount, UserNotFound
from usersvc.repositories.directory import Filters
from usersvc.repositories.users import User
from usersvc.services import _events, _mails, _targets, authorization
from usersvc.services.accounts import Account, WatchedAccount, watched
from usersvc.services.actor import PERMISSIONS, Actor
from usersvc.webhooks.events import Event


def show(core: Core, *, user_id: UUID, actor: Actor) -> WatchedAccount:
    """Raises Forbidden, UserNotFound."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        user = tx.users.by_id(user_id)
        if user is None:
            raise UserNotFound
        return watched(tx, user)


@retried
def activate(core: Core, *, user_id: UUID, matching: Filters | None = None, actor: Actor) -> Account:
    """Let an account in: pending, invited or deactivated; an active one stays as it is.

    Only an account that was active before keeps its password. Whatever a stranger registered under the
    address is void: its owner gets a link to choose a password. No session and no older link lives again.
    Raises Forbidden, UserNotFound.
    """
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write", matching=matching)
        if user.status == "active":
            return Account.of(user)
        tx.link_tokens.revoke_all(user.id, at=tx.now)
        returns = bool(user.activated_at and user.password_hash)
        if returns:
            tx.users.reactivate(user.id, at=tx.now)
            _mails.queue_mail(core, tx, "reactivated", address=user.email, user_id=user.id)
        else:
            tx.users.activate_without_password(user, at=tx.now)
            _mails.queue_activated_mail(core, tx, user)
        tx.audit(actor, "user.activated", target=user.id, before=user.status)
        _events.tell(tx, Event.REACTIVATED if returns else Event.ACTIVATED, user.id)
        return _as_it_stands(tx, user)


@retried
def deactivate(core: Core, *, user_id: UUID, matching: Filters | None = None, actor: Actor) -> Account:
    """Shut an account out: its row stays, its sessions and links end at once.

    Raises Forbidden, UserNotFound, OwnAccount, LastAdmin.
    """
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "users:write", matching=matching)
        if user.id == actor.user_id:
            raise OwnAccount("You cannot deactivate your own account.")
        if user.status == "deactivated":
            return Account.of(user)
        _require_another_admin(tx, user)
        tx.users.deactivate(user, at=tx.now)
        ended = tx.sessions.end_all(user.id, "deactivated", at=tx.now)
        tx.link_tokens.revoke_all(user.id, at=tx.now)
        if user.status == "active":
            _mails.queue_mail(core, tx, "deactivated", address=user.email, user_id=user.id)
        tx.audit(actor, "user.deactivated", target=user.id, before=user.status, sessions=ended)
        _events.tell(tx, Event.DEACTIVATED, user.id)
        return _as_it_stands(tx, user)


@retried
def set_role(
    core: Core, *, user_id: UUID, role: str, matching: Filters | None = None, actor: Actor
) -> Account:
    """Give an account this role; usersvc's own routes know at once, access tokens when they expire.

    Raises Forbidden, UserNotFound, OwnAccount, LastAdmin; NotActive where somebody who is neither active
    nor invited would get a role above `user`.
    """
    with core.write() as tx:
        user = _targets.hold_for(tx, actor, user_id, "roles:write", matching=matching)
        authorization.require(tx, actor, *PERMISSIONS[role])
        if user.id == actor.user_id:
            raise OwnAccount("You cannot change your own role.")
        if user.role == role:
            return Account.of(user)
        if role != "user" and user.status not in ("active", "invited"):
            raise NotActive(f"This account is {user.status}: activate it first.")
        _require_another_admin(tx, user)
        tx.users.set_role(user.id, role, at=tx.now)
        tx.audit(actor, "user.role_changed", target=user.id, before=user.role, after=role)
        _events.tell(tx, Event.ROLE_CHANGED, user.id)
        return _as_it_stands(tx, user)


def _require_another_admin(tx: Tx, user: User) -> None:
    """Raises LastAdmin where this one is the only active administrator."""
    if _targets.is_last_admin(tx, user):
        raise LastAdmin


def _as_it_stands(tx: Tx, user: User) -> Account:
    return Account.of(tx.users.by_id(user.id) or user)
