"""Passwords changed and reset."""

from collections.abc import Iterator

from tests.audited.case import World, told
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    delivered,
    invited,
    signed_in,
    token_in,
)
from usersvc.services import (
    passwords,
)


@told(passwords.forgot, "password.forgotten | anonymous |  | ok")
def forget_the_password(w: World) -> Iterator[None]:
    active(w.core)
    yield
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)


@told(passwords.reset, "password.reset | anonymous | ada | ok")
def reset_the_password(w: World) -> Iterator[None]:
    active(w.core)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    token = token_in(delivered(w.core)[-1])
    yield
    passwords.reset(w.core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


@told(passwords.reset, "user.activated | anonymous | ada | ok")
def accept_an_invitation(w: World) -> Iterator[None]:
    token = invited(w.core)
    yield
    passwords.reset(w.core, token=token, new_password=PASSWORD, actor=STRANGER)


@told(passwords.change, "password.changed | user ada | ada | ok")
def change_the_password(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    passwords.change(w.core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=by)


@told(passwords.change, "password.change_failed | user ada | ada | WRONG_PASSWORD")
def change_the_password_with_a_wrong_one(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    passwords.change(w.core, current_password=OTHER_PASSWORD, new_password=OTHER_PASSWORD, actor=by)


@told(passwords.mail_reset, "password.reset_mailed | operator tester | ada | ok")
def mail_a_reset_link(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    passwords.mail_reset(w.core, user_id=account.id, actor=OPERATOR)


@told(passwords.show_reset_link, "password.reset_link_shown | operator tester | ada | ok")
def show_a_reset_link(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    passwords.show_reset_link(w.core, user_id=account.id, actor=OPERATOR)
