"""Mail: sent, given up, tried again."""

from collections.abc import Iterator

from tests import outbox as mails
from tests.audited.case import World, told
from tests.factories import (
    EMAIL,
    OPERATOR,
    STRANGER,
    active,
    deactivated,
    invited,
    pending,
    user_row,
)
from usersvc.mail.errors import LoginRefused, MailRefused
from usersvc.services import (
    admin,
    delivery,
    outbox,
    passwords,
    registration,
)


@told(delivery.deliver_due)
def send_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def drop_a_mail_whose_link_is_dead(w: World) -> Iterator[None]:
    mails.registered(w.core)
    w.clock.move(days=2)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "password.reset_mailed | job deliver_outbox | ada | ok")
def mail_a_reset_link_that_was_asked_for(w: World) -> Iterator[None]:
    active(w.core)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "activation.mailed | job deliver_outbox | ada | ok")
def mail_another_activation_link(w: World) -> Iterator[None]:
    pending(w.core)
    w.clock.move(minutes=2)
    registration.resend_activation(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "invitation.mailed | job deliver_outbox | ada | ok")
def mail_an_invitation_again(w: World) -> Iterator[None]:
    invited(w.core)
    w.clock.move(minutes=2)
    registration.resend_activation(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def close_a_request_for_an_unknown_address(w: World) -> Iterator[None]:
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def put_off_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def put_back_a_mail_while_the_login_is_refused(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(LoginRefused("535 wrong password"))
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "mail.failed | job deliver_outbox |  | MAIL_NOT_SENT")
def give_up_a_mail_that_is_refused(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(MailRefused("550 no such user"))
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "mail.dead | job deliver_outbox | ada | MAIL_NOT_SENT")
def give_up_a_mail_after_two_days(w: World) -> Iterator[None]:
    deactivated(w.core)
    admin.activate(w.core, user_id=user_row(w.core).id, actor=OPERATOR)
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    w.clock.move(hours=48)
    yield
    mails.deliver(w.core)


@told(outbox.retry, "mail.retried | operator tester |  | ok")
def retry_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(MailRefused("550 no such user"))
    mails.deliver(w.core)
    yield
    outbox.retry(w.core, mail_id=mails.the_mail(w.core).id, actor=OPERATOR)


@told(outbox.send_test, "mail.tested | operator tester |  | ok")
def send_a_test_mail(w: World) -> Iterator[None]:
    yield
    outbox.send_test(w.core, address=EMAIL, actor=OPERATOR)


@told(outbox.send_test, "mail.tested | operator tester |  | MAIL_NOT_SENT")
def send_a_test_mail_in_vain(w: World) -> Iterator[None]:
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    yield
    outbox.send_test(w.core, address=EMAIL, actor=OPERATOR)
