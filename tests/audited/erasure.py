"""Accounts erased, and erased again."""

from collections.abc import Iterator

from tests.audited.case import PURGE, World, told
from tests.factories import EMAIL, OPERATOR, OTHER_PASSWORD, PASSWORD, active, an_admin, signed_in, user_row
from usersvc.services import deletion, erasure, export, login, maintenance


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


@told(deletion.schedule_own, "user.deletion_scheduled | user ada | ada | ok")
def delete_ones_own_account(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    deletion.schedule_own(w.core, password=PASSWORD, actor=by)


@told(deletion.schedule_own, "user.deletion_failed | user ada | ada | WRONG_PASSWORD")
def delete_an_account_with_a_wrong_password(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    deletion.schedule_own(w.core, password=OTHER_PASSWORD, actor=by)


@told(deletion.schedule, "user.deletion_scheduled | operator tester | ada | ok")
def delete_an_account(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    deletion.schedule(w.core, user_id=account.id, actor=OPERATOR)


@told(deletion.cancel, "user.deletion_cancelled | operator tester | ada | ok")
def keep_an_account(w: World) -> Iterator[None]:
    account = active(w.core)
    deletion.schedule(w.core, user_id=account.id, actor=OPERATOR)
    yield
    deletion.cancel(w.core, user_id=account.id, actor=OPERATOR)


@told(login.log_in, "user.logged_in | user ada | ada | ok", "user.deletion_cancelled | user ada | ada | ok")
def keep_an_account_by_logging_in(w: World) -> Iterator[None]:
    account = active(w.core)
    deletion.schedule(w.core, user_id=account.id, actor=OPERATOR)
    yield
    signed_in(w.core)


@told(
    deletion.carry_out_due,
    "user.erased | job purge_expired | ada | ok",
    "user.deletion_cancelled | job purge_expired | root | LAST_ADMIN",
)
def erase_whose_time_is_over(w: World) -> Iterator[None]:
    an_admin(w.core)
    an_admin(w.core, EMAIL)
    for email in (EMAIL, "root@example.org"):
        deletion.schedule(w.core, user_id=user_row(w.core, email).id, actor=OPERATOR)
        w.clock.move(seconds=1)
    w.clock.move(days=15)
    yield
    deletion.carry_out_due(w.core, actor=PURGE)


@told(
    maintenance.purge,
    "user.erased | job purge_expired | ada | ok",
    "data.purged | job purge_expired |  | ok",
)
def purge_an_account_whose_time_is_over(w: World) -> Iterator[None]:
    deletion.schedule(w.core, user_id=active(w.core).id, actor=OPERATOR)
    w.clock.move(days=15)
    yield
    maintenance.purge(w.core, actor=PURGE)


@told(export.export_own, "user.exported | user ada | ada | ok")
def read_what_is_held_about_oneself(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    export.export_own(w.core, actor=by)


@told(export.export, "user.exported | operator tester | ada | ok")
def read_what_is_held_about_somebody(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    export.export(w.core, user_id=account.id, actor=OPERATOR)
