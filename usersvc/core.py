"""The core: settings, clock, database, keys and mail, wired together; no rules.

A use case owns its transactions: `with core.read() as tx` and `with core.write() as tx`. This is
the only file that commits.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from usersvc import logs
from usersvc.clock import Clock, rfc_3339
from usersvc.db.engine import Database, database_from
from usersvc.db.types import WRITE_WAIT_SECONDS, is_conflict
from usersvc.errors import DatabaseBusy, KeepWrites
from usersvc.mail.transports import Transport, transport_from
from usersvc.repositories.audit import Audit, AuditEntry, WhoActs
from usersvc.repositories.directory import Directory
from usersvc.repositories.email_changes import EmailChanges
from usersvc.repositories.erasures import Erasures
from usersvc.repositories.groups import Groups
from usersvc.repositories.holdings import Holdings
from usersvc.repositories.imports import Imports
from usersvc.repositories.jobs import Jobs
from usersvc.repositories.keys import Keys
from usersvc.repositories.known_devices import KnownDevices
from usersvc.repositories.known_networks import KnownNetworks
from usersvc.repositories.link_tokens import LinkTokens
from usersvc.repositories.memberships import Memberships
from usersvc.repositories.outbox import Outbox
from usersvc.repositories.profiles import Profiles
from usersvc.repositories.services import Services
from usersvc.repositories.sessions import Sessions
from usersvc.repositories.tables import Tables
from usersvc.repositories.tallies import Tallies
from usersvc.repositories.throttle import Throttle
from usersvc.repositories.users import Users
from usersvc.repositories.webhooks import Deliveries, Webhooks
from usersvc.security.hashing_pool import HashingPool
from usersvc.security.keys import KeyRing
from usersvc.security.passwords import PasswordHasher, Policy
from usersvc.security.secrets import new_id
from usersvc.security.tokens import Tokens
from usersvc.security.webhook_secrets import WebhookSecrets
from usersvc.settings import Settings

if TYPE_CHECKING:
    from usersvc.mail.messages import Messages
    from usersvc.webhooks.sender import Sender

_log = logs.get("usersvc.core")


P = ParamSpec("P")
R = TypeVar("R")

# Seconds between the tries.
_PAUSES = (0.01, 0.05, 0.25)


class Tx:
    """One transaction: the repositories on its connection, and its time."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.wakes_worker = False
        self._last_entry: UUID | None = None

    def wake_worker(self) -> None:
        """Wake a worker once this is committed: there may be mail."""
        self.wakes_worker = True

    def audit(
        self, actor: WhoActs, action: str, *, target: UUID | None = None, outcome: str = "ok", **detail: Any
    ) -> None:
        """Write down what happened, in the transaction that makes it happen; never a secret."""
        self.audit_entries.insert(self._entry(actor, action, target, outcome, detail))

    def audit_each(self, actor: WhoActs, action: str, *, targets: Sequence[UUID], **detail: Any) -> None:
        """The same for many accounts at once, an entry each."""
        self.audit_entries.insert_all([self._entry(actor, action, one, "ok", detail) for one in targets])

    def _entry(
        self, actor: WhoActs, action: str, target: UUID | None, outcome: str, detail: dict[str, Any]
    ) -> AuditEntry:
        # One more than the last, so that entries of one transaction stay in the order they were written.
        self._last_entry = UUID(int=self._last_entry.int + 1) if self._last_entry else new_id(self.now)
        return AuditEntry(
            id=self._last_entry,
            at=self.now,
            actor_kind=actor.kind,
            actor_id=actor.acting_id,
            actor_name=actor.name,
            action=action,
            target_id=target,
            ip=actor.ip,
            outcome=outcome,
            request_id=actor.request_id or logs.current_request(),
            detail={key: _in_json(value) for key, value in detail.items()},
        )

    @cached_property
    def users(self) -> Users:
        return Users(self.connection)

    @cached_property
    def profiles(self) -> Profiles:
        return Profiles(self.connection)

    @cached_property
    def directory(self) -> Directory:
        return Directory(self.connection)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.connection)

    @cached_property
    def link_tokens(self) -> LinkTokens:
        return LinkTokens(self.connection)

    @cached_property
    def email_changes(self) -> EmailChanges:
        return EmailChanges(self.connection)

    @cached_property
    def groups(self) -> Groups:
        return Groups(self.connection)

    @cached_property
    def memberships(self) -> Memberships:
        return Memberships(self.connection)

    @cached_property
    def imports(self) -> Imports:
        return Imports(self.connection)

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.connection)

    @cached_property
    def services(self) -> Services:
        return Services(self.connection)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.connection)

    @cached_property
    def webhooks(self) -> Webhooks:
        return Webhooks(self.connection)

    @cached_property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.connection)

    @cached_property
    def audit_entries(self) -> Audit:
        return Audit(self.connection)

    @cached_property
    def known_networks(self) -> KnownNetworks:
        return KnownNetworks(self.connection)

    @cached_property
    def known_devices(self) -> KnownDevices:
        return KnownDevices(self.connection)

    @cached_property
    def throttle(self) -> Throttle:
        return Throttle(self.connection)

    @cached_property
    def erasures(self) -> Erasures:
        return Erasures(self.connection)

    @cached_property
    def holdings(self) -> Holdings:
        return Holdings(self.connection)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.connection)

    @cached_property
    def tables(self) -> Tables:
        return Tables(self.connection)

    @cached_property
    def tallies(self) -> Tallies:
        return Tallies(self.connection)


def _in_json(value: Any) -> Any:
    return rfc_3339(value) if isinstance(value, datetime) else value


def retried(step: Callable[P, R]) -> Callable[P, R]:
    """Do a step again, whole, where its transaction and another one were in each other's way.

    PostgreSQL then ends one of the two; three more tries, then DatabaseBusy. The step is one transaction
    and nothing beside it that must not happen twice.
    """

    @wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for pause in _PAUSES:
            try:
                return step(*args, **kwargs)
            except DatabaseBusy as error:
                if not is_conflict(error.__cause__):
                    raise
                time.sleep(random.uniform(0.5, 1.5) * pause)  # noqa: S311 - spreads them, protects nothing
        return step(*args, **kwargs)

    return run


class Core:
    """What every use case takes first."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        database: Database,
        hashing: HashingPool,
        transport: Transport,
        doorbell: Callable[[], object],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.database = database
        self.hashing = hashing
        self.transport = transport
        self.doorbell = doorbell
        self.hasher = PasswordHasher(hashing, cost=settings.passwords.bcrypt_cost)
        self._opened: tuple[KeyRing, Tokens] | None = None
        self._webhook_secrets: WebhookSecrets | None = None

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """One snapshot of the database; cannot write."""
        with self.database.reading() as connection:
            yield Tx(connection, self.clock.now())

    @contextmanager
    def glance(self) -> Iterator[Tx]:
        """For one statement that reads: a snapshot by itself, at a third of the cost of `read`."""
        with self.database.glancing() as connection:
            yield Tx(connection, self.clock.now())

    @contextmanager
    def write(self, *, wait: float = WRITE_WAIT_SECONDS) -> Iterator[Tx]:
        """One transaction, committed at the end of the block and rolled back by any error.

        Except for `raise KeepWrites(error)`: that commits, then raises `error`. Raises DatabaseBusy
        where no turn to write comes within `wait` seconds; nothing was done then.
        """
        kept: KeepWrites | None = None
        with self.database.writing(wait) as connection:
            tx = Tx(connection, self.clock.now())
            try:
                yield tx
            except KeepWrites as error:
                kept = error
            except BaseException:
                connection.rollback()
                raise
            self._commit(connection)
        if tx.wakes_worker:
            self._wake()
        if kept:
            raise kept.error

    @staticmethod
    def _commit(connection: Connection) -> None:
        try:
            connection.commit()
        except BaseException:
            # SQLAlchemy holds the transaction for finished and would hand the connection on inside it.
            connection.invalidate()
            raise

    @property
    def key_ring(self) -> KeyRing:
        """The key ring. Set by services/keys.py when a process opens its database, and as it changes."""
        return self._keys_and_tokens[0]

    @key_ring.setter
    def key_ring(self, ring: KeyRing) -> None:
        # Together, since other threads read them: never tokens of a ring that was replaced.
        settings = self.settings
        self._opened = ring, Tokens(ring, issuer=settings.issuer, audience=settings.tokens.audience)

    @property
    def webhook_secrets(self) -> WebhookSecrets:
        """What opens the secrets of webhooks. Set together with the key ring."""
        if self._webhook_secrets is None:
            raise RuntimeError("the key ring was not opened: call services.keys.open_ring first")
        return self._webhook_secrets

    @webhook_secrets.setter
    def webhook_secrets(self, secrets: WebhookSecrets) -> None:
        self._webhook_secrets = secrets

    @property
    def tokens(self) -> Tokens:
        return self._keys_and_tokens[1]

    @property
    def _keys_and_tokens(self) -> tuple[KeyRing, Tokens]:
        if self._opened is None:
            raise RuntimeError("the key ring was not opened: call services.keys.open_ring first")
        return self._opened

    @cached_property
    def policy(self) -> Policy:
        limits = self.settings.passwords
        return Policy(limits.min_length, limits.max_length, limits.min_score)

    @cached_property
    def messages(self) -> "Messages":
        from usersvc.mail.messages import Messages

        return Messages(self.settings.templates_dir, sender=self.settings.mail.from_address)

    @cached_property
    def webhook_sender(self) -> "Sender":
        from usersvc.webhooks.sender import sender_from

        return sender_from(self.settings)

    def close(self) -> None:
        self.hashing.close()
        self.database.close()

    def _wake(self) -> None:
        # The change is committed: whatever a face handed in here must not turn the answer into a failure.
        try:
            self.doorbell()
        except Exception:
            _log.warning("doorbell failed", exc_info=True)


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    doorbell: Callable[[], object] | None = None,
) -> Core:
    """A core out of its settings; opens and makes nothing yet."""
    threads = max(1, (os.cpu_count() or 1) // settings.server.workers)
    return Core(
        settings,
        clock=clock or Clock(),
        database=database_from(settings),
        hashing=HashingPool(threads=threads),
        transport=transport or transport_from(settings),
        doorbell=doorbell or (lambda: None),
    )
