"""Erasing: of an account nothing is kept but its id, as a pseudonym in the audit, and when it was erased.

The record of that outlives the account, so that after a backup of before was restored it can be erased again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from usersvc.core import Core, retried
from usersvc.errors import LastAdmin, UserNotFound
from usersvc.repositories import erasures
from usersvc.services import _erasure, _targets, authorization
from usersvc.services.actor import Actor

Erasure = erasures.Erasure

_AT_ONCE = 500


@dataclass
class ForgottenAgain:
    erased: int = 0
    """Accounts that were there again."""
    refused: list[UUID] = field(default_factory=list)
    """The last active administrator: make another one, then `forget` this one."""


def forget(core: Core, *, user_id: UUID, actor: Actor) -> None:
    """Danger: erase an account at once and for good; one that is erased already is fine.

    Raises Forbidden for all but operators, UserNotFound, LastAdmin.
    """
    authorization.require_operator(actor)
    if not _forget(core, user_id, actor) and not _is_erased(core, user_id):
        raise UserNotFound


def forget_again(core: Core, erased: Iterable[Erasure], *, actor: Actor) -> ForgottenAgain:
    """Danger: erase who was erased since the backup that this database was restored from.

    `erased` is the record of before the restore, as `list_erasures` gives it; what it tells stands in this
    database's own afterwards, each with its first time. An account is a transaction of its own: safe to
    repeat. Raises Forbidden for all but operators.
    """
    authorization.require_operator(actor)
    done = ForgottenAgain()
    for erasure in erased:
        try:
            done.erased += _forget_again(core, erasure, actor)
        except LastAdmin:
            done.refused.append(erasure.user_id)
    return done


def list_erasures(core: Core, *, actor: Actor) -> Iterator[Erasure]:
    """Which accounts were erased, and when; the oldest first. Raises Forbidden for all but operators."""
    authorization.require_operator(actor)
    last: Erasure | None = None
    while True:
        with core.read() as tx:
            page = tx.erasures.page(after=last, limit=_AT_ONCE)
        yield from page
        if len(page) < _AT_ONCE:
            return
        last = page[-1]


@retried
def _forget(core: Core, user_id: UUID, actor: Actor) -> bool:
    """Whether there was such an account."""
    with core.write() as tx:
        user = _targets.hold(tx, user_id)
        if user is None:
            return False
        if _targets.is_last_admin(tx, user):
            raise LastAdmin
        mails = _erasure.erase(core, tx, user, actor)
    _erasure.discard(core, mails)
    return True


@retried
def _forget_again(core: Core, erasure: Erasure, actor: Actor) -> bool:
    """Whether there was such an account; if not, that it was erased is written down all the same."""
    with core.write() as tx:
        user = _targets.hold(tx, erasure.user_id)
        if user is None:
            if tx.erasures.by_id(erasure.user_id) is None:
                tx.erasures.insert(erasure)
                tx.audit(actor, "user.erased", target=erasure.user_id, first=erasure.erased_at)
            return False
        if _targets.is_last_admin(tx, user):
            raise LastAdmin
        tx.erasures.insert(erasure)
        mails = _erasure.erase(core, tx, user, actor, first=erasure.erased_at)
    _erasure.discard(core, mails)
    return True


def _is_erased(core: Core, user_id: UUID) -> bool:
    with core.read() as tx:
        return tx.erasures.by_id(user_id) is not None
