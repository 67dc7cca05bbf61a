"""Backups made, and what a restored database revives ended."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import OPERATOR, active, logged_in
from usersvc.services import backups, restoring


@told(backups.make, "database.backed_up | operator tester |  | ok")
def make_a_backup(w: World) -> Iterator[None]:
    assert w.core.database.path
    yield
    backups.make(w.core, path=w.core.database.path.with_name("users.backup"), replace=True, actor=OPERATOR)


@told(
    restoring.after_restore,
    *["key.refused | operator tester |  | ok"] * 3,
    *["key.created | operator tester |  | ok"] * 3,
    "database.restored | operator tester |  | ok",
)
def end_what_a_restored_database_revives(w: World) -> Iterator[None]:
    active(w.core)
    logged_in(w.core)
    yield
    restoring.after_restore(w.core, actor=OPERATOR)
