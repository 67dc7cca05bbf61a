"""Accounts taken out into a file, in the form that can be read in again: JSON Lines, or CSV.

Both have the same fields. In CSV an absent value is an empty cell, and what is no text is written as JSON.
A spreadsheet takes a cell for a formula that begins as one does: such a cell gets an apostrophe before it,
and so does one that begins with an apostrophe. Who reads them takes one away.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from usersvc.clock import rfc_3339
from usersvc.core import Core, Tx, retried
from usersvc.repositories.directory import Exported, Filters, Place
from usersvc.services import authorization
from usersvc.services.actor import Actor

Form = Literal["csv", "jsonl"]
FORMS: tuple[Form, ...] = get_args(Form)

_AT_ONCE = 1000
_HASH = "password_hash"
# How formulas begin, and what makes them harmless.
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def _column(name: str) -> Callable[[Exported], Any]:
    return lambda user: user.columns.get(name)


def _object(name: str) -> Callable[[Exported], Any]:
    """A JSON object that is stored as text."""

    def parsed(user: Exported) -> Any:
        text = user.columns[name]
        return json.loads(text) if text else None

    return parsed


FIELDS: dict[str, Callable[[Exported], Any]] = {
    "id": _column("id"),
    "email": _column("email"),
    "email_verified": lambda user: user.columns["email_verified_at"] is not None,
    "username": _column("username"),
    "role": _column("role"),
    "status": _column("status"),
    "password_hash": _column(_HASH),
    "locale": _column("locale"),
    "profile": _object("profile"),
    "attributes": _object("attributes"),
    "groups": lambda user: list(user.groups),
    "created_at": _column("created_at"),
    "registered_at": _column("registered_at"),
    "invited_at": _column("invited_at"),
    "activated_at": _column("activated_at"),
    "deactivated_at": _column("deactivated_at"),
    "password_changed_at": _column("password_changed_at"),
    "last_login_at": _column("last_login_at"),
    "deletion_due_at": _column("deletion_due_at"),
}
"""What stands in a file, in this order, and where it comes from."""


@dataclass(frozen=True)
class Piece:
    """What is written next."""

    accounts: int
    data: bytes


def count(core: Core, *, filters: Filters, actor: Actor) -> int:
    """How many accounts those are now. Raises Forbidden."""
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        return sum(tx.directory.count(filters).values())


def export(
    core: Core, *, filters: Filters, form: Form, with_hashes: bool = False, actor: Actor
) -> Iterator[Piece]:
    """These accounts, the oldest first; any number of them needs little memory.

    Each page is a snapshot by itself, so that however slow the reader is, no transaction stays open and
    nobody waits. So an account is whole, and is there once; whoever comes, goes or changes meanwhile may be
    in it as he was or as he is. What is the same moment for all is a backup.

    The entry in the audit is written before anything is read; it stays if the export is broken off. Password
    hashes are for operators alone. Raises Forbidden, at a later step too.
    """
    _note(core, filters, form, with_hashes, actor, accounts=count(core, filters=filters, actor=actor))
    return _pieces(core, filters, form, with_hashes, actor)


@retried
def _note(
    core: Core, filters: Filters, form: Form, with_hashes: bool, actor: Actor, *, accounts: int
) -> None:
    chosen = {name: _plain(value) for name, value in vars(filters).items() if value is not None}
    with core.write() as tx:
        _require(tx, actor, with_hashes)
        tx.audit(actor, "users.exported", accounts=accounts, filters=chosen, form=form, hashes=with_hashes)


def _require(tx: Tx, actor: Actor, with_hashes: bool) -> None:
    authorization.require(tx, actor, "users:read")
    if with_hashes:
        authorization.require_operator(actor)


def _pieces(core: Core, filters: Filters, form: Form, with_hashes: bool, actor: Actor) -> Iterator[Piece]:
    if form == "csv":
        yield Piece(0, _csv([list(FIELDS)]))
    written = _csv_of if form == "csv" else _json_lines
    but = () if with_hashes else (_HASH,)
    after: Place | None = None
    while True:
        with core.read() as tx:
            _require(tx, actor, with_hashes)
            page = tx.directory.exported(filters, but=but, after=after, limit=_AT_ONCE)
        if page:
            yield Piece(len(page), written(page))
        if len(page) < _AT_ONCE:
            return
        after = page[-1].place


def _json_lines(page: Sequence[Exported]) -> bytes:
    """https://jsonlines.org/; in ASCII, so that no character in it is taken for the end of a line."""
    rows = ({name: value(user) for name, value in FIELDS.items()} for user in page)
    return "".join(f"{json.dumps(row, default=_plain)}\n" for row in rows).encode()


def _csv_of(page: Sequence[Exported]) -> bytes:
    return _csv([[_cell(value(user)) for value in FIELDS.values()] for user in page])


def _csv(rows: list[list[str]]) -> bytes:
    """RFC 4180, in UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, bool | dict | list) else _plain(value)
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text


def _plain(value: object) -> str:
    return rfc_3339(value) if isinstance(value, datetime) else str(value)
