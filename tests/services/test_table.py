"""What happens to an account, by its status: the tables of docs/api.md, one row a case."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    user_row,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import DomainError
from usersvc.services import admin, invitations, passwords, registration

MADE: dict[str, Callable[[Core], object]] = {
    "pending": pending,
    "invited": invited,
    "deactivated": deactivated,
    "active": active,
}

DONE: dict[str, Callable[[Core], object]] = {
    "register again": lambda core: registration.register(
        core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER
    ),
    "register again, same password": lambda core: registration.register(
        core, email=EMAIL, password=PASSWORD, actor=STRANGER
    ),
    "forgot": lambda core: passwords.forgot(core, email=EMAIL, actor=STRANGER),
    "resend": lambda core: registration.resend_activation(core, email=EMAIL, actor=STRANGER),
    "log in": logged_in,
    "invite": lambda core: invitations.invite(core, email=EMAIL, actor=OPERATOR),
    "activate": lambda core: admin.activate(core, user_id=user_row(core).id, actor=OPERATOR),
    "deactivate": lambda core: admin.deactivate(core, user_id=user_row(core).id, actor=OPERATOR),
}

ACTIVATION, INVITATION, RESET = "Activate your account at", "You are invited to", "Reset your password at"
KNOWN, CHOOSE = "You already have an account at", "Your account at 127.0.0.1:8000 was activated"
OPEN_AGAIN = "Your account at 127.0.0.1:8000 is open again"
SHUT = "Your account at 127.0.0.1:8000 was deactivated"

# What is done to which account; its answer, its mail, the status after it, whether there is a password.
TABLE: list[tuple[str, str, str | None, str | None, str, bool]] = [
    ("register again", "pending", None, ACTIVATION, "pending", False),
    ("register again", "invited", None, INVITATION, "invited", False),
    ("register again", "deactivated", None, None, "deactivated", True),
    ("register again", "active", None, KNOWN, "active", True),
    ("register again, same password", "pending", None, ACTIVATION, "pending", True),
    ("register again, same password", "invited", None, INVITATION, "invited", False),
    ("register again, same password", "deactivated", None, None, "deactivated", True),
    ("register again, same password", "active", None, KNOWN, "active", True),
    ("forgot", "pending", None, ACTIVATION, "pending", True),
    ("forgot", "invited", None, INVITATION, "invited", False),
    ("forgot", "deactivated", None, None, "deactivated", True),
    ("forgot", "active", None, RESET, "active", True),
    ("resend", "pending", None, ACTIVATION, "pending", True),
    ("resend", "invited", None, INVITATION, "invited", False),
    ("resend", "deactivated", None, None, "deactivated", True),
    ("resend", "active", None, None, "active", True),
    ("log in", "pending", "INVALID_CREDENTIALS", None, "pending", True),
    ("log in", "invited", "INVALID_CREDENTIALS", None, "invited", False),
    ("log in", "deactivated", "ACCOUNT_DEACTIVATED", None, "deactivated", True),
    ("log in", "active", None, None, "active", True),
    ("invite", "pending", None, INVITATION, "invited", False),
    ("invite", "invited", "EMAIL_TAKEN", None, "invited", False),
    ("invite", "deactivated", "EMAIL_TAKEN", None, "deactivated", True),
    ("invite", "active", "EMAIL_TAKEN", None, "active", True),
    ("activate", "pending", None, CHOOSE, "active", False),
    ("activate", "invited", None, CHOOSE, "active", False),
    ("activate", "deactivated", None, OPEN_AGAIN, "active", True),
    ("activate", "active", None, None, "active", True),
    ("deactivate", "pending", None, None, "deactivated", False),
    ("deactivate", "invited", None, None, "deactivated", False),
    ("deactivate", "deactivated", None, None, "deactivated", True),
    ("deactivate", "active", None, SHUT, "deactivated", True),
]


def _code(core: Core, done: Callable[[Core], Any]) -> str | None:
    try:
        done(core)
    except DomainError as error:
        return error.code
    return None


@pytest.mark.parametrize(("done", "made", "code", "mail", "status", "has_password"), TABLE, ids=str)
def test_what_is_done_to_an_account_depends_on_its_status(
    core: Core,
    clock: MovedClock,
    *,
    done: str,
    made: str,
    code: str | None,
    mail: str | None,
    status: str,
    has_password: bool,
) -> None:
    MADE[made](core)
    before = user_row(core)
    clock.move(minutes=2)
    assert _code(core, DONE[done]) == code
    subjects = [message["Subject"] for message in delivered(core)]
    assert len(subjects) == (mail is not None)
    assert all(subject.startswith(mail or "") for subject in subjects)
    after = user_row(core)
    assert (after.id, after.role, after.status) == (before.id, "user", status)
    # No account gets another password by any of this: it keeps the one it had, or has none.
    assert after.password_hash == (before.password_hash if has_password else None)
    assert (after.password_hash is not None) is has_password


def test_the_table_has_every_case() -> None:
    assert {(done, made) for done, made, *_ in TABLE} == {(done, made) for done in DONE for made in MADE}
