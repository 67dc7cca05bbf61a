"""Accounts erased, and erased again."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import EMAIL, OPERATOR, active, user_row
from usersvc.services import erasure


@told(erasure.forget, "user.erased | operator tester | ada | ok")
def forget(w: World) -> Iterator[None]:
    active(w.core)
    account = user_row(w.core, EMAIL)
    yield
    erasure.forget(w.core, user_id=account.id, actor=OPERATOR)


@told(erasure.forget_again, "user.erased | operator tester | ada | ok")
def forget_who_is_there_again(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    record = [erasure.Erasure(account.id, w.clock.now())]
    erasure.forget_again(w.core, record, actor=OPERATOR)
