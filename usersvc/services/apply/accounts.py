"""Administrators and other roles: who is promoted, who is invited, and who would be demoted."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from usersvc.core import Core
from usersvc.errors import LastAdmin, UserNotFound
from usersvc.services import accounts, admin, directory, invitations
from usersvc.services.accounts import Account
from usersvc.services.actor import PERMISSIONS, Actor
from usersvc.services.apply.comparison import Comparison
from usersvc.services.apply.declaration import AnAdministrator, ARole, Declaration
from usersvc.services.apply.plan import Action, Item, Outcome, value

_RANKS = list(PERMISSIONS)


@dataclass(frozen=True)
class _Wanted:
    section: str
    entry: AnAdministrator | ARole
    role: str
    invites: bool


def compare(given: Comparison) -> None:
    wanted = list(_wanted(given.declared))
    for one in wanted:
        _compare(given, one)
    named = {one.entry.email.key for one in wanted}
    for section, role in (("administrators", "admin"), ("roles", "moderator")):
        if getattr(given.declared, section) is not None:
            for account in _all(given.core, role, given.actor):
                if account.email.lower() not in named:
                    _demote(given, section, account, "user")


def require_an_admin(given: Comparison) -> None:
    """Raises LastAdmin where the plan would leave none that is active. Each step looks again."""
    plan = given.plan
    if not any(step.action is Action.REMOVE and step.item.section != "groups" for step in plan.steps):
        return
    active = {account.id for account in _all(given.core, "admin", given.actor, status="active")}
    gone = {step.item.id for step in plan.steps if step.action is Action.REMOVE}
    come = {
        step.item.id
        for step in plan.steps
        if step.item.section == "administrators" and step.action is Action.CHANGE and not step.item.note
    }
    if active & gone and not (active - gone) | come:
        raise LastAdmin("No active administrator would be left: none that the file names is active yet.")


def known(core: Core, email: str, actor: Actor) -> Account | None:
    try:
        return accounts.find(core, name=email, actor=actor)
    except UserNotFound:
        return None


def invites(declared: Declaration) -> set[str]:
    """The keys of the addresses that are invited where they have no account."""
    return {one.entry.email.key for one in _wanted(declared) if one.invites}


def _wanted(declared: Declaration) -> Iterator[_Wanted]:
    for administrator in declared.administrators or ():
        yield _Wanted("administrators", administrator, "admin", invites=True)
    for role in declared.roles or ():
        yield _Wanted("roles", role, role.role, invites=role.invite)


def _compare(given: Comparison, wanted: _Wanted) -> None:
    email, role = wanted.entry.email.email, wanted.role
    account = known(given.core, email, given.actor)
    if account is None or (account.status == "pending" and wanted.invites):
        _invite(given, wanted, account)
    elif account.status in ("pending", "deactivated") and role != "user":
        remedy = "activate it first" if wanted.invites else "activate it first, or set invite = true"
        given.plan.mistaken(wanted.entry, f"this account is {account.status}: {remedy}")
    elif account.role == role:
        given.plan.same.append(Item(wanted.section, email, _state(account), account.id))
    elif _RANKS.index(account.role) > _RANKS.index(role):
        _demote(given, wanted.section, account, role)
    else:
        given.plan.add(
            Action.CHANGE,
            Item(wanted.section, email, _state(account), account.id),
            [value("role", account.role, role)],
            key=wanted.entry.email.key,
            run=partial(_set_role, given, account, role),
        )


def _state(account: Account) -> str:
    return "" if account.is_active else account.status


def _invite(given: Comparison, wanted: _Wanted, account: Account | None) -> None:
    entry = wanted.entry
    if not wanted.invites:
        given.plan.mistaken(entry, "there is no account with this address: set invite = true to invite it")
        return
    if entry.username and known(given.core, entry.username, given.actor):
        given.plan.mistaken(entry, f"username: {entry.username} is taken")
        return
    note = "is invited by mail"
    if account:
        note += "; what was registered there and not activated is void"
    given.plan.add(
        Action.MAKE,
        Item(wanted.section, entry.email.email, note),
        [value("role", None, wanted.role), value("username", None, entry.username)],
        key=entry.email.key,
        run=partial(_run_invite, given, wanted),
    )


def _run_invite(given: Comparison, wanted: _Wanted) -> Outcome:
    entry = wanted.entry
    made = invitations.invite(
        given.core, email=entry.email.email, role=wanted.role, username=entry.username, actor=given.actor
    )
    return Outcome(made.id)


def _demote(given: Comparison, section: str, account: Account, role: str) -> None:
    given.plan.take(
        Action.REMOVE,
        Item(section, account.email, _state(account), account.id),
        [value("role", account.role, role)],
        key=account.email.lower(),
        run=partial(_set_role, given, account, role),
    )


def _set_role(given: Comparison, account: Account, role: str) -> Outcome:
    return Outcome(admin.set_role(given.core, user_id=account.id, role=role, actor=given.actor).id)


def _all(core: Core, role: str, actor: Actor, *, status: str | None = None) -> Iterator[Account]:
    return directory.each(core, filters=directory.Filters(role=role, status=status), actor=actor)
