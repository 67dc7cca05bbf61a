"""Mail in the outbox, and transports that do as a test says."""

from email.message import EmailMessage
from typing import Any

from tests.factories import EMAIL, PASSWORD, STRANGER, outbox_rows
from usersvc.core import Core
from usersvc.mail.transports import MemoryTransport
from usersvc.repositories.outbox import OutboxMail
from usersvc.services import _mails, delivery, registration


class Killed(BaseException):
    """What a worker does not come back from."""


class Scripted(MemoryTransport):
    """Keeps what it is given and does the next thing of its script; sends when that has ended."""

    def __init__(self, *script: BaseException | None) -> None:
        super().__init__()
        self.script = list(script)

    def send(self, message: EmailMessage) -> str:
        super().send(message)
        if self.script and (error := self.script.pop(0)):
            raise error
        return "memory"


def queue(core: Core, address: str = EMAIL, kind: str = "already_registered", **data: Any) -> None:
    """A mail in the outbox, without the hashing of a registration."""
    with core.write() as tx:
        _mails.queue_mail(core, tx, kind, address=address, data=data)


def the_mail(core: Core) -> OutboxMail:
    [mail] = outbox_rows(core)
    return mail


def deliver(core: Core, owner: str = "test") -> int:
    return delivery.deliver_due(core, owner=owner)


def registered(core: Core, email: str = EMAIL) -> None:
    registration.register(core, email=email, password=PASSWORD, actor=STRANGER)
