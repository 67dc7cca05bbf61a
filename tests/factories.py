"""Accounts and links for tests, made the way everybody makes them: through the services."""

import re
from email.message import EmailMessage

from usersvc.core import Core
from usersvc.mail.transports import MemoryTransport
from usersvc.services import admin, delivery, login, registration
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.sessions import TokenPair

EMAIL = "ada@example.org"
PASSWORD = "zebra quilt 41 lamp"
OTHER_PASSWORD = "violet anchor 77 spoon"
STRANGER = Actor("anonymous", ip="192.0.2.1", user_agent="pytest")


def delivered(core: Core) -> list[EmailMessage]:
    """The mails that go out now, taken from the memory transport."""
    assert isinstance(core.transport, MemoryTransport)
    delivery.deliver_due(core, owner="test")
    sent, core.transport.sent = core.transport.sent, []
    return sent


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def token_in(message: EmailMessage) -> str:
    found = re.search(r"token=([\w-]{43})\b", text_of(message))
    assert found, "there is no link in this mail"
    return found[1]


def pending(core: Core, email: str = EMAIL, password: str = PASSWORD, **more: str) -> str:
    """Register; returns the token of the activation mail."""
    registration.register(core, email=email, password=password, actor=STRANGER, **more)
    [message] = [m for m in delivered(core) if m["To"].addresses[0].addr_spec.lower() == email.lower()]
    return token_in(message)


def active(core: Core, email: str = EMAIL, password: str = PASSWORD, **more: str) -> Account:
    return registration.activate(core, token=pending(core, email, password, **more), actor=STRANGER)


def an_admin(core: Core, email: str = "root@example.org", password: str = PASSWORD) -> Account:
    return admin.create_admin(core, email=email, password=password, actor=Actor.operator("tester"))


def logged_in(core: Core, email: str = EMAIL, password: str = PASSWORD) -> TokenPair:
    return login.log_in(core, email=email, password=password, actor=STRANGER)
