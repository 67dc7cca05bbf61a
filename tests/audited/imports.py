"""Users brought in from a file."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import EMAIL, active
from tests.files import bring_in, lines
from usersvc.services import importing

_FINISHED = "import.finished | operator tester |  | ok"


@told(importing.run, "user.imported | operator tester | ada | ok", _FINISHED)
def import_a_user(w: World) -> Iterator[None]:
    yield
    bring_in(w.core, lines({"email": EMAIL, "email_verified": True}))


@told(importing.run, "user.imported | operator tester | ada | ok", _FINISHED)
def import_a_user_who_is_there(w: World) -> Iterator[None]:
    active(w.core)
    yield
    bring_in(w.core, lines({"email": EMAIL, "username": "ada"}), on_conflict="update")


@told(importing.run, _FINISHED)
def import_nobody(w: World) -> Iterator[None]:
    yield
    bring_in(w.core, lines({"email": "no address"}))
