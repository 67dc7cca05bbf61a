"""What is done to many accounts at once."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import OPERATOR, active, deactivated, logged_in
from usersvc.services import bulk, exporting
from usersvc.services.bulk import Activate, Change, Deactivate, RevokeSessions, SetRole
from usersvc.services.directory import Filters

_EVERYBODY = Filters(prefix="a")


def _carry_out(w: World, change: Change) -> None:
    list(bulk.carry_out(w.core, change=change, filters=_EVERYBODY, actor=OPERATOR))


@told(bulk.carry_out, "user.activated | operator tester | ada | ok")
def activate_many(w: World) -> Iterator[None]:
    deactivated(w.core)
    yield
    _carry_out(w, Activate())


@told(
    bulk.carry_out,
    "user.deactivated | operator tester | ada | ok",
    "user.deactivated | operator tester | amy | ok",
)
def deactivate_many(w: World) -> Iterator[None]:
    active(w.core)
    active(w.core, "amy@example.org")
    yield
    _carry_out(w, Deactivate())


@told(bulk.carry_out, "user.role_changed | operator tester | ada | ok")
def set_the_role_of_many(w: World) -> Iterator[None]:
    active(w.core)
    yield
    _carry_out(w, SetRole("moderator"))


@told(bulk.carry_out, "session.revoked_all | operator tester | ada | ok")
def revoke_the_sessions_of_many(w: World) -> Iterator[None]:
    active(w.core)
    logged_in(w.core)
    yield
    _carry_out(w, RevokeSessions())


@told(exporting.export, "users.exported | operator tester |  | ok")
def export(w: World) -> Iterator[None]:
    active(w.core)
    yield
    list(exporting.export(w.core, filters=_EVERYBODY, form="jsonl", actor=OPERATOR))
