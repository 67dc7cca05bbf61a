"""The users as a list: searched, filtered, sorted, page by page.

A page begins after the last user of the one before, wherever that is, so that page 20,000 costs what
page 1 costs, and nobody is shown twice or left out because others came or went in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from usersvc.core import Core
from usersvc.repositories import directory
from usersvc.repositories.directory import Place
from usersvc.repositories.users import User
from usersvc.services import _pages, authorization
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor

Filters = directory.Filters
Sort = Literal["created_at", "-created_at", "email", "-email"]
SORTS: tuple[Sort, ...] = get_args(Sort)
MOST = 100

_LIST = "users"


@dataclass(frozen=True)
class Page:
    accounts: list[Account]
    next_cursor: str | None
    """Where the next page begins; None after the last one."""


def list_users(
    core: Core,
    *,
    actor: Actor,
    q: str | None = None,
    role: str | None = None,
    status: str | None = None,
    sort: Sort = "created_at",
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """One page of the users whose address or username begins with `q`, at most `MOST` of them.

    Raises Forbidden; InvalidCursor for one that did not come with this sort and these filters.
    """
    filters = Filters(q.lower() if q else None, role, status)
    after = _place(core, cursor, sort, filters) if cursor is not None else None
    with core.read() as tx:
        authorization.require(tx, actor, "users:read")
        found = tx.directory.page(filters, sort=sort, after=after, limit=min(limit, MOST) + 1)
    shown = found[: min(limit, MOST)]
    next_cursor = _cursor(core, shown[-1], sort, filters) if len(found) > len(shown) else None
    return Page([Account.of(user) for user in shown], next_cursor)


def each(core: Core, *, filters: Filters, actor: Actor) -> Iterator[Account]:
    """All of these, the oldest first, page by page: a million of them need no more memory than a page.

    A page is read as it is needed, in a transaction of its own: who changes so that he matches no longer, or
    only now, may be among them or not. Raises Forbidden, at a later step too.
    """
    after: Place | None = None
    while True:
        with core.read() as tx:
            authorization.require(tx, actor, "users:read")
            found = tx.directory.page(filters, sort="created_at", after=after, limit=MOST)
        yield from map(Account.of, found)
        if len(found) < MOST:
            return
        after = Place(found[-1].created_at, found[-1].id)


def _cursor(core: Core, last: User, sort: Sort, filters: Filters) -> str:
    value = last.email_key if sort.endswith("email") else last.created_at.isoformat()
    place = {"value": value, "id": last.id.hex}
    return _pages.cursor_after(core, _LIST, place, query=_sealed(sort, filters))


def _place(core: Core, cursor: str, sort: Sort, filters: Filters) -> Place:
    place = _pages.place_in(core, _LIST, cursor, query=_sealed(sort, filters))
    value = place["value"] if sort.endswith("email") else datetime.fromisoformat(place["value"])
    return Place(value, UUID(place["id"]))


def _sealed(sort: Sort, filters: Filters) -> list[str | None]:
    return [sort, filters.prefix, filters.role, filters.status]
