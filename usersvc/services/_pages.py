"""Cursors, as all lists have them: where a page begins, for one sort and these filters alone."""

import hashlib
import json
from typing import Any

from usersvc.core import Core
from usersvc.errors import InvalidCursor
from usersvc.security import cursors


def cursor_after(core: Core, of: str, place: dict[str, str], *, query: list[Any]) -> str:
    """A cursor of the list `of` that continues after `place`; `query` is its sort and filters."""
    sealed = {**place, "query": _fingerprint(query)}
    return cursors.seal(core.key_ring, of, sealed, at=core.clock.now())


def place_in(core: Core, of: str, cursor: str, *, query: list[Any]) -> dict[str, str]:
    """The place that was sealed. Raises InvalidCursor for one of another list, sort or filters."""
    try:
        place = cursors.unseal(core.key_ring, of, cursor)
    except cursors.BrokenCursor:
        raise InvalidCursor from None
    if place.pop("query") != _fingerprint(query):
        raise InvalidCursor
    return place


def _fingerprint(query: list[Any]) -> str:
    return hashlib.sha256(json.dumps(query, default=str).encode()).hexdigest()
