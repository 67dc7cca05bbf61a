"""Groups: their permissions, who is in them, and those that the file does not name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from usersvc.services import groups, memberships
from usersvc.services.accounts import find
from usersvc.services.apply import accounts
from usersvc.services.apply.comparison import Comparison
from usersvc.services.apply.declaration import AGroup
from usersvc.services.apply.plan import Action, Difference, Item, Outcome, fewer, more, said_or, value
from usersvc.services.groups import GroupView
from usersvc.services.memberships import MemberView


@dataclass(frozen=True)
class _Moves:
    """Who comes in as what, and who goes, by address."""

    comes: dict[str, bool] = field(default_factory=dict)
    """Whether as a manager; those that are in already, too."""
    demoted: dict[str, bool] = field(default_factory=dict)
    """Managers that become ordinary members."""
    goes: dict[str, bool] = field(default_factory=dict)
    """Whether a manager."""

    def gives(self) -> list[Difference | None]:
        return [self._coming(manager=True), self._coming(manager=False)]

    def takes(self) -> list[Difference | None]:
        managers = [*self.demoted, *_where(self.goes, manager=True)]
        return [fewer("managers", managers, []), fewer("members", _where(self.goes, manager=False), [])]

    def _coming(self, *, manager: bool) -> Difference | None:
        return more("managers" if manager else "members", [], _where(self.comes, manager=manager))


def _where(people: dict[str, bool], *, manager: bool) -> list[str]:
    return [email for email, manages in people.items() if manages is manager]


def compare(given: Comparison) -> None:
    if given.declared.groups is None:
        return
    there = {group.name: group for group in _all_groups(given)}
    invited = accounts.invites(given.declared)
    for entry in given.declared.groups:
        _require_accounts(given, entry, invited)
        found = there.pop(entry.name, None)
        if found:
            _change(given, entry, found)
        else:
            _make(given, entry)
    for group in there.values():
        given.plan.take(
            Action.REMOVE,
            Item("groups", group.name, _end_of(group), group.id),
            [],
            key=group.name,
            run=partial(_delete, given, group),
        )


def _require_accounts(given: Comparison, entry: AGroup, invited: set[str]) -> None:
    for address in [*(entry.managers or ()), *(entry.members or ())]:
        account = accounts.known(given.core, address.email, given.actor)
        if address.key in invited and (account is None or account.status == "pending"):
            continue
        if account is None:
            given.plan.mistaken(entry, f"there is no account {address.email}")
        elif account.status not in ("active", "invited"):
            given.plan.mistaken(entry, f"{address.email} is {account.status}: activate it first")


def _make(given: Comparison, entry: AGroup) -> None:
    given.plan.add(
        Action.MAKE,
        Item("groups", entry.name),
        [
            value("description", None, entry.description or None),
            more("permissions", [], entry.permissions),
            *_Moves(_addresses(entry)).gives(),
        ],
        key=entry.name,
        run=partial(_run_make, given, entry),
    )


def _change(given: Comparison, entry: AGroup, found: GroupView) -> None:
    moves = _moves(given, entry, found)
    given.plan.compare(
        Item("groups", entry.name, id=found.id),
        gives=[
            value("description", found.description, said_or(entry.description, found.description)),
            more("permissions", found.permissions, entry.permissions),
            *moves.gives(),
        ],
        takes=[fewer("permissions", found.permissions, entry.permissions), *moves.takes()],
        key=entry.name,
        run=partial(_run_change, given, entry, found, moves),
    )


def _moves(given: Comparison, entry: AGroup, found: GroupView) -> _Moves:
    """What is not said is not looked at: a file without members leaves those of a group alone."""
    if entry.managers is None and entry.members is None:
        return _Moves()
    there = {member.email or "": member.manager for member in _all_members(given, found.id)}
    by_key = {email.lower(): (email, manager) for email, manager in there.items()}
    people = entry.people
    return _Moves(
        comes={
            email: people[email.lower()]
            for email in _addresses(entry)
            if email.lower() not in by_key or (people[email.lower()] and not by_key[email.lower()][1])
        },
        demoted={
            email: False for key, (email, manager) in by_key.items() if manager and people.get(key) is False
        },
        goes={
            email: manager
            for key, (email, manager) in by_key.items()
            if key not in people and (entry.managers if manager else entry.members) is not None
        },
    )


def _addresses(entry: AGroup) -> dict[str, bool]:
    return {
        **{address.email: True for address in entry.managers or ()},
        **{address.email: False for address in entry.members or ()},
    }


def _run_make(given: Comparison, entry: AGroup) -> Outcome:
    made = groups.create(
        given.core,
        name=entry.name,
        description=entry.description or "",
        permissions=entry.permissions,
        actor=given.actor,
    )
    _let_in(given, made.id, _addresses(entry))
    return Outcome(made.id)


def _run_change(given: Comparison, entry: AGroup, found: GroupView, moves: _Moves) -> Outcome:
    prunes = given.plan.prunes
    surplus = set(found.permissions) - set(entry.permissions) if prunes else ()
    groups.change(
        given.core,
        group_id=found.id,
        description=entry.description,
        grant=entry.permissions,
        withdraw=surplus,
        actor=given.actor,
    )
    for email in moves.goes if prunes else ():
        account = accounts.known(given.core, email, given.actor)
        if account:
            memberships.remove(given.core, group_id=found.id, user_id=account.id, actor=given.actor)
    _let_in(given, found.id, {**moves.comes, **(moves.demoted if prunes else {})})
    return Outcome(found.id)


def _let_in(given: Comparison, group_id: UUID, people: dict[str, bool]) -> None:
    for email, manager in people.items():
        account = find(given.core, name=email, actor=given.actor)
        memberships.add(given.core, group_id=group_id, user_id=account.id, manager=manager, actor=given.actor)


def _end_of(group: GroupView) -> str:
    return f"is deleted, with {group.members} member{'' if group.members == 1 else 's'}"


def _delete(given: Comparison, group: GroupView) -> Outcome:
    groups.delete(given.core, group_id=group.id, actor=given.actor)
    return Outcome(group.id)


def _all_groups(given: Comparison) -> Iterator[GroupView]:
    cursor = None
    while True:
        page = groups.list_groups(given.core, limit=groups.MOST, cursor=cursor, actor=given.actor)
        yield from page.groups
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _all_members(given: Comparison, group_id: UUID) -> Iterator[MemberView]:
    cursor = None
    while True:
        page = memberships.list_members(
            given.core, group_id=group_id, limit=memberships.MOST, cursor=cursor, actor=given.actor
        )
        yield from page.members
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
