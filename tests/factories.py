"""Accounts and links for tests, made the way everybody makes them: through the services."""

import email
import email.policy
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from usersvc.core import Core, Tx
from usersvc.db.models import audit, outbox, users
from usersvc.errors import DomainError
from usersvc.mail.transports import MemoryTransport
from usersvc.repositories.audit import AuditEntry
from usersvc.repositories.outbox import OutboxMail
from usersvc.repositories.users import User
from usersvc.security.hashing_pool import HashingPool
from usersvc.services import admin, delivery, first_admin, invitations, login, registration
from usersvc.services.accounts import Account
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate
from usersvc.services.sessions import TokenPair

EMAIL = "ada@example.org"
PASSWORD = "zebra quilt 41 lamp"
OTHER_PASSWORD = "violet anchor 77 spoon"
OPERATOR = Actor.operator("tester")
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


def token_in_file(path: Path) -> str:
    """Of a mail as the file transport leaves it."""
    return token_in(email.message_from_bytes(path.read_bytes(), policy=email.policy.default))


def pending(core: Core, email: str = EMAIL, password: str = PASSWORD, **more: str) -> str:
    """Register; returns the token of the activation mail."""
    registration.register(core, email=email, password=password, actor=STRANGER, **more)
    [message] = [m for m in delivered(core) if m["To"].addresses[0].addr_spec.lower() == email.lower()]
    return token_in(message)


def active(core: Core, email: str = EMAIL, password: str = PASSWORD, **more: str) -> Account:
    return registration.activate(core, token=pending(core, email, password, **more), actor=STRANGER)


def an_admin(core: Core, email: str = "root@example.org", password: str = PASSWORD) -> Account:
    return first_admin.create_admin(core, email=email, password=password, actor=OPERATOR)


def invited(core: Core, email: str = EMAIL, **more: str) -> str:
    """Invite; returns the token of the mail."""
    invitations.invite(core, email=email, actor=OPERATOR, **more)
    [message] = delivered(core)
    return token_in(message)


def deactivated(core: Core, email: str = EMAIL, password: str = PASSWORD, **more: str) -> Account:
    account = active(core, email, password, **more)
    found = admin.deactivate(core, user_id=account.id, actor=OPERATOR)
    delivered(core)
    return found


def signed_in(core: Core, email: str = EMAIL, password: str = PASSWORD) -> Actor:
    """Who this account is to a use case once its access token was looked at."""
    token = logged_in(core, email, password).access_token
    return authenticate(core, access_token=token, actor=STRANGER)[0]


def logged_in(core: Core, email: str = EMAIL, password: str = PASSWORD) -> TokenPair:
    return login.log_in(core, email=email, password=password, actor=STRANGER)


# What a test must see or do that no service offers yet: rows as they stand, rows as they cannot be made
# through a service, and what happens between two steps of a use case.


def user_row(core: Core, email: str = EMAIL) -> User:
    with core.read() as tx:
        found = tx.users.by_email_key(email.lower())
    assert found is not None, f"there is no account under {email}"
    return found


def rewrite_user(core: Core, email: str = EMAIL, **values: Any) -> None:
    with core.write() as tx:
        changed = tx.connection.execute(update(users).where(users.c.email_key == email).values(**values))
    assert changed.rowcount == 1


def outbox_rows(core: Core) -> list[OutboxMail]:
    columns = [outbox.c[name] for name in OutboxMail.__dataclass_fields__]
    with core.read() as tx:
        return [OutboxMail(*row) for row in tx.connection.execute(select(*columns).order_by(outbox.c.id))]


def audit_rows(core: Core, action: str) -> list[AuditEntry]:
    columns = [audit.c[name] for name in AuditEntry.__dataclass_fields__]
    found = select(*columns).where(audit.c.action == action).order_by(audit.c.id)
    with core.read() as tx:
        return [AuditEntry(*row) for row in tx.connection.execute(found)]


def entries_of(tx: Tx, target_id: UUID) -> list[AuditEntry]:
    """What the audit says of this account, in the order it was written."""
    columns = [audit.c[name] for name in AuditEntry.__dataclass_fields__]
    found = select(*columns).where(audit.c.target_id == target_id).order_by(audit.c.id)
    return [AuditEntry(*row) for row in tx.connection.execute(found)]


class WatchedPool(HashingPool):
    """Counts what is hashed or verified; `afterwards` happens once, when the next job is done."""

    def __init__(self) -> None:
        super().__init__(threads=2)
        self.jobs = 0
        self.turns: list[str] = []
        self.clients: list[str | None] = []
        self.afterwards: Callable[[], object] | None = None

    def run(self, job: Callable[[], Any], **whose: Any) -> Any:
        self.jobs += 1
        self.turns.append(whose.get("turn", "ordinary"))
        self.clients.append(whose.get("client"))
        result = super().run(job, **whose)
        afterwards, self.afterwards = self.afterwards, None
        if afterwards:
            afterwards()
        return result


@contextmanager
def watching_hashes(core: Core) -> Iterator[tuple[Core, WatchedPool]]:
    """The same core, hashing on a pool that is watched."""
    pool = WatchedPool()
    watched = Core(
        core.settings,
        clock=core.clock,
        database=core.database,
        hashing=pool,
        transport=core.transport,
        doorbell=core.doorbell,
    )
    watched.key_ring = core.key_ring
    try:
        yield watched, pool
    finally:
        pool.close()


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run all at once; what each returned, or the domain error that it raised."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return job()
        except DomainError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))
