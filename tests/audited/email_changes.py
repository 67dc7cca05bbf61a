"""Changes of address, logins undone, passwords that operators set."""

from collections.abc import Iterator
from dataclasses import replace

from tests.audited.case import World, told
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    delivered,
    logged_in,
    pending,
    signed_in,
    token_in,
    user_row,
)
from usersvc.core import Core
from usersvc.services import delivery, email_change, login, login_alerts, password_change, passwords

NEW = "ada@example.net"


def asked(core: Core) -> str:
    """The token of the mail to the new address."""
    email_change.ask_for(core, user_id=user_row(core).id, email=NEW, actor=OPERATOR)
    return token_in(delivered(core)[-1])


@told(email_change.ask, "user.email_change_requested | user ada | ada | ok")
def ask_for_another_address(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    email_change.ask(w.core, email=NEW, password=PASSWORD, actor=by)


@told(email_change.ask, "user.email_change_failed | user ada | ada | WRONG_PASSWORD")
def ask_for_another_address_with_a_wrong_password(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    email_change.ask(w.core, email=NEW, password=OTHER_PASSWORD, actor=by)


@told(delivery.deliver_due, "user.email_change_mailed | job deliver_outbox | ada | ok")
def mail_the_link_to_a_new_address(w: World) -> Iterator[None]:
    active(w.core)
    email_change.ask(w.core, email=NEW, password=PASSWORD, actor=signed_in(w.core))
    yield
    delivery.deliver_due(w.core, owner="test")


@told(delivery.deliver_due, "user.email_change_mailed | job deliver_outbox | ada | EMAIL_TAKEN")
def mail_the_owner_of_the_address(w: World) -> Iterator[None]:
    active(w.core, NEW)
    active(w.core)
    email_change.ask(w.core, email=NEW, password=PASSWORD, actor=signed_in(w.core))
    yield
    delivery.deliver_due(w.core, owner="test")


@told(delivery.deliver_due, "user.way_back_mailed | job deliver_outbox | ada | ok")
def ask_for_a_password_at_the_old_address(w: World) -> Iterator[None]:
    account = active(w.core)
    email_change.set_for(w.core, user_id=account.id, email=NEW, actor=OPERATOR)
    delivered(w.core)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    yield
    delivery.deliver_due(w.core, owner="test")


@told(email_change.ask_for, "user.email_change_requested | operator tester | ada | ok")
def ask_as_an_operator(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    email_change.ask_for(w.core, user_id=account.id, email=NEW, actor=OPERATOR)


@told(email_change.set_for, "user.email_changed | operator tester | ada | ok")
def change_the_address_at_once(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    email_change.set_for(w.core, user_id=account.id, email=NEW, actor=OPERATOR)


@told(email_change.confirm, "user.email_changed | anonymous | ada | ok")
def confirm_the_new_address(w: World) -> Iterator[None]:
    active(w.core)
    token = asked(w.core)
    yield
    email_change.confirm(w.core, token=token, actor=STRANGER)


@told(email_change.confirm, "user.email_change_failed | anonymous | ada | EMAIL_TAKEN")
def confirm_what_another_one_has_by_now(w: World) -> Iterator[None]:
    active(w.core)
    token = asked(w.core)
    active(w.core, NEW)
    yield
    email_change.confirm(w.core, token=token, actor=STRANGER)


@told(
    email_change.confirm,
    "user.purged | anonymous | ada | ok",
    "user.email_changed | anonymous | ada | ok",
)
def confirm_what_a_stranger_registered(w: World) -> Iterator[None]:
    active(w.core)
    token = asked(w.core)
    pending(w.core, NEW, OTHER_PASSWORD)
    yield
    email_change.confirm(w.core, token=token, actor=STRANGER)


@told(email_change.restore, "user.email_restored | anonymous | ada | ok")
def have_the_old_address_back(w: World) -> Iterator[None]:
    account = active(w.core)
    email_change.set_for(w.core, user_id=account.id, email=NEW, actor=OPERATOR)
    token = token_in(delivered(w.core)[-1])
    yield
    email_change.restore(w.core, token=token, actor=STRANGER)


@told(login_alerts.end_session, "session.denied | anonymous | ada | ok")
def undo_a_login(w: World) -> Iterator[None]:
    active(w.core)
    logged_in(w.core)
    another = replace(STRANGER, user_agent="curl/8")
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=another)
    token = token_in(delivered(w.core)[-1])
    yield
    login_alerts.end_session(w.core, token=token, actor=STRANGER)


@told(password_change.set_for, "password.set | operator tester | ada | ok")
def set_a_password(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    password_change.set_for(w.core, user_id=account.id, password=OTHER_PASSWORD, actor=OPERATOR)


@told(login.verify, "user.login_failed | anonymous | ada | INVALID_CREDENTIALS")
def verify_a_wrong_password(w: World) -> Iterator[None]:
    active(w.core)
    yield
    login.verify(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous | ada | PASSWORD_CHANGE_REQUIRED")
def log_in_with_a_password_that_an_operator_set(w: World) -> Iterator[None]:
    account = active(w.core)
    password_change.set_for(w.core, user_id=account.id, password=OTHER_PASSWORD, actor=OPERATOR)
    yield
    logged_in(w.core, password=OTHER_PASSWORD)


@told(
    password_change.change_and_log_in,
    "password.changed | user ada | ada | ok",
    "user.logged_in | user ada | ada | ok",
)
def replace_the_password_and_log_in(w: World) -> Iterator[None]:
    account = active(w.core)
    password_change.set_for(w.core, user_id=account.id, password=OTHER_PASSWORD, actor=OPERATOR)
    yield
    password_change.change_and_log_in(
        w.core, email=EMAIL, current_password=OTHER_PASSWORD, new_password=PASSWORD, actor=STRANGER
    )
