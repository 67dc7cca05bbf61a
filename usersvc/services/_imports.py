"""Steps that bring users of a file in. They take the caller's transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from uuid import UUID

from usersvc.core import Core, Tx
from usersvc.errors import ImportConflict, UsernameTaken
from usersvc.profile_schema import JsonObject
from usersvc.repositories.groups import Group
from usersvc.repositories.profiles import What
from usersvc.repositories.users import User
from usersvc.services import _events, _groups, _mails, _passwords, _profiles
from usersvc.services.actor import Actor
from usersvc.services.imports.fields import Row
from usersvc.webhooks.events import Event

OnConflict = Literal["skip", "update", "fail"]
_USERNAME_TAKEN = "Somebody else has this username."
_TOO_MUCH = "Its groups and their permissions are more than a token can hold."


class Refusal(NamedTuple):
    """A line that brought nobody in. Says nothing of what stands there."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True)
class How:
    source: str
    on_conflict: OnConflict
    replace_passwords: bool
    actor: Actor


@dataclass
class Outcome:
    imported: list[Row] = field(default_factory=list)
    updated: int = 0
    skipped: int = 0
    refused: list[Refusal] = field(default_factory=list)

    def refuse(self, row: Row, where: str, reason: str) -> None:
        self.refused.append(Refusal(row.line, where, reason))


class _Sized(NamedTuple):
    id: UUID
    size: int
    """In bytes of a token."""


def bring_in(core: Core, tx: Tx, rows: Sequence[Row], how: How) -> Outcome:
    """Insert who is new, and do with the others as is asked. Raises ImportConflict."""
    bringing = _Bringing(core, tx, how, _groups_named(tx, rows))
    bringing.bring([row for row in bringing.permitted(rows) if bringing.has_groups_for(row)])
    return bringing.outcome


@dataclass
class _Bringing:
    """One batch, in one transaction."""

    core: Core
    tx: Tx
    how: How
    groups: dict[str, _Sized]
    outcome: Outcome = field(default_factory=Outcome)

    def permitted(self, rows: Sequence[Row]) -> list[Row]:
        """Without those that would bring back who was erased, or take an address that has a way back."""
        erased = self.tx.erasures.among([row.user_id for row in rows])
        reserved = self.tx.email_changes.reserved([row.email_key for row in rows], at=self.tx.now)
        for row in rows:
            if row.user_id in erased:
                self.outcome.refuse(row, "id", "The account of this id was erased.")
            elif row.email_key in reserved:
                self.outcome.refuse(
                    row, "email", "Another account gave this address up lately, and may have it back."
                )
        return [row for row in rows if row.user_id not in erased and row.email_key not in reserved]

    def _still_permitted(self, new: list[Row], rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The same again of those that went in, who may have waited for one that was erased or moved."""
        kept = {row.line for row in self.permitted(new)}
        late = {row.line for row in new} - kept
        self.tx.imports.delete_users([row.user_id for row in new if row.line in late])
        return [row for row in new if row.line in kept], [row for row in rows if row.line not in late]

    def has_groups_for(self, row: Row) -> bool:
        if any(name not in self.groups for name in row.groups):
            self.outcome.refuse(row, "groups", "There is no group of this name: make it first.")
            return False
        if not _has_room([self.groups[name] for name in row.groups]):
            self.outcome.refuse(row, "groups", _TOO_MUCH)
            return False
        return True

    def bring(self, rows: Sequence[Row]) -> None:
        first_of_id: dict[UUID, Row] = {}
        for row in rows:
            first_of_id.setdefault(row.user_id, row)
        inserted = self.tx.imports.insert_users([row.columns for row in first_of_id.values()])
        new = [row for row in rows if row.user_id in inserted and first_of_id[row.user_id] is row]
        new, rows = self._still_permitted(new, rows)
        self._tell_new(new)
        lines = {row.line for row in new}
        self._meet([row for row in rows if row.line not in lines])

    def _tell_new(self, new: list[Row]) -> None:
        """What comes with new accounts: their groups, the audit, the events."""
        tx = self.tx
        pairs = [(self.groups[name].id, row.user_id) for row in new for name in row.groups]
        tx.imports.insert_members(pairs, at=tx.now)
        ids = [row.user_id for row in new]
        tx.audit_each(self.how.actor, "user.imported", targets=ids, source=self.how.source)
        _events.tell(tx, Event.REGISTERED, *ids)
        _events.tell(tx, Event.ACTIVATED, *(row.user_id for row in new if row.status == "active"))
        self.outcome.imported += new

    def _meet(self, rows: Sequence[Row]) -> None:
        """Of these somebody else has the address, the id or the username."""
        if not rows:
            return
        holders = self.tx.imports.holders([row.email_key for row in rows])
        taken = self.tx.imports.taken_ids([row.user_id for row in rows if row.email_key not in holders])
        for row in rows:
            holder = holders.get(row.email_key)
            if holder is None and row.user_id in taken:
                self.outcome.refuse(row, "id", "Another account has this id.")
            elif holder is None:
                self.outcome.refuse(row, "username", _USERNAME_TAKEN)
            elif self.how.on_conflict == "fail":
                raise ImportConflict(f"Line {row.line}: there is an account with this address already.")
            elif self.how.on_conflict == "skip":
                self.outcome.skipped += 1
            else:
                self._update(holder, row)

    def _update(self, user: User, row: Row) -> None:
        """Neither role nor status nor address is changed, except where the account was never activated."""
        is_taken_over = user.status == "pending" and row.status != "pending"
        try:
            changed = self._take_over(user, row) if is_taken_over else self._change(user, row)
        except UsernameTaken:
            self.outcome.refuse(row, "username", _USERNAME_TAKEN)
            return
        if not changed:
            self.outcome.skipped += 1
            return
        self.outcome.updated += 1
        self.tx.audit(
            self.how.actor, "user.imported", target=user.id, source=self.how.source, changed=changed
        )
        is_activated = is_taken_over and row.status == "active"
        _events.tell(self.tx, Event.ACTIVATED if is_activated else Event.CHANGED, user.id)

    def _take_over(self, user: User, row: Row) -> list[str]:
        """What a stranger registered becomes the account of the file; the rest is void."""
        self.tx.link_tokens.revoke_all(user.id, at=self.tx.now)
        kept = {name: value for name, value in row.columns.items() if name != "id"}
        self.tx.imports.replace_pending(user.id, kept)
        return ["status", *self._join(user, row)]

    def _change(self, user: User, row: Row) -> list[str]:
        if user.status == "pending":
            return []
        tx, changed = self.tx, []
        if row.username and row.username != user.username:
            tx.users.set_username(user.id, row.username, at=tx.now)
            changed.append("username")
        objects: tuple[tuple[What, JsonObject | None], ...] = (
            ("profile", row.profile),
            ("attributes", row.attributes),
        )
        for what, value in objects:
            if value is not None and _profiles.differs(tx, user, what, value):
                _profiles.write(self.core, tx, user, what, value, actor=self.how.actor)
                changed.append(what)
        if self._set_password(user, row):
            changed.append("password")
        return changed + self._join(user, row)

    def _set_password(self, user: User, row: Row) -> bool:
        """Where there never was one, or the operator says so: then every session ends, and the owner is told.

        One that was voided, since a thief knew it, stays so: the file may have just that.
        """
        tx, new, old = self.tx, row.password_hash, user.password_hash
        had_one = old or user.password_changed_at
        if new is None or new == old or (had_one and not self.how.replace_passwords):
            return False
        must_change = bool(row.columns["must_change_password"])
        if not tx.users.set_password(user, new, verifies_email=False, must_change=must_change, at=tx.now):
            return False
        _passwords.shut(tx, user)
        if old:
            _mails.queue_mail(self.core, tx, "password_changed", address=user.email, user_id=user.id)
        return True

    def _join(self, user: User, row: Row) -> list[str]:
        """The groups that it is not in yet; none of them where they do not all fit."""
        if not row.groups:
            return []
        there = [group for group, _ in self.tx.memberships.of(user.id)]
        known = {group.id for group in there}
        missing = [self.groups[name] for name in row.groups if self.groups[name].id not in known]
        if not missing or not _has_room([*_sized(self.tx, there).values(), *missing]):
            return []
        self.tx.imports.insert_members([(group.id, user.id) for group in missing], at=self.tx.now)
        return ["groups"]


def _groups_named(tx: Tx, rows: Iterable[Row]) -> dict[str, _Sized]:
    """Those that there are, kept as they are until the transaction ends."""
    wanted = sorted({name for row in rows for name in row.groups if name.isprintable()})
    if not wanted:
        return {}
    tx.groups.hold()
    return _sized(tx, [group for name in wanted if (group := tx.groups.by_name(name))])


def _sized(tx: Tx, found: Collection[Group]) -> dict[str, _Sized]:
    permissions = tx.groups.permissions_of([group.id for group in found])
    return {
        group.name: _Sized(group.id, sum(len(word) + 3 for word in (group.name, *permissions[group.id])))
        for group in found
    }


def _has_room(found: Sequence[_Sized]) -> bool:
    is_small = sum(group.size for group in found) <= _groups.MOST_BYTES_OF_CLAIMS
    return is_small and len(found) <= _groups.MOST_GROUPS_OF_A_USER
