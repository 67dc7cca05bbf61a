"""Webhooks: receivers of events, and the deliveries to each, written in the transaction of what is told."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select, update

from usersvc.db.models import webhook_deliveries, webhooks
from usersvc.repositories.leases import Leases


@dataclass(frozen=True)
class Webhook:
    id: UUID
    url: str
    events: list[str]
    """Empty: all."""
    description: str
    secret_wrapped: bytes
    created_at: datetime
    updated_at: datetime
    old_secret_wrapped: bytes | None = None
    old_secret_until: datetime | None = None
    disabled_at: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    id: UUID
    webhook_id: UUID
    event: str
    user_id: UUID
    data: dict[str, Any]
    status: str
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    give_up_at: datetime
    lease_until: datetime | None = None
    lease_owner: str | None = None
    outcome: str | None = None
    """Of the last try: a status of HTTP, or why there is none."""
    sent_at: datetime | None = None
    request_id: str | None = None


_COLUMNS = [webhooks.c[name] for name in Webhook.__dataclass_fields__]
# Built once: to build them took longer than to run them.
_ENABLED = select(webhooks.c.id, webhooks.c.events).where(webhooks.c.disabled_at.is_(None))
_INSERT_DELIVERIES = insert(webhook_deliveries)


class Webhooks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, webhook: Webhook) -> None:
        self._connection.execute(insert(webhooks).values(**vars(webhook)))

    def wanting(self, event: str) -> list[UUID]:
        """Those that are enabled and are told of this event."""
        found = self._connection.execute(_ENABLED)
        return [webhook_id for webhook_id, events in found if not events or event in events]

    def all(self) -> list[Webhook]:
        """The oldest first."""
        found = select(*_COLUMNS).order_by(webhooks.c.created_at, webhooks.c.id)
        return [Webhook(*row) for row in self._connection.execute(found)]

    def by_id(self, webhook_id: UUID) -> Webhook | None:
        row = self._connection.execute(select(*_COLUMNS).where(webhooks.c.id == webhook_id)).first()
        return Webhook(*row) if row else None

    def hold(self, webhook_id: UUID) -> Webhook | None:
        """As `by_id`, and kept as it is until the transaction ends."""
        found = select(*_COLUMNS).where(webhooks.c.id == webhook_id).with_for_update()
        row = self._connection.execute(found).first()
        return Webhook(*row) if row else None

    def update(self, webhook_id: UUID, *, at: datetime, **values: Any) -> None:
        changed = update(webhooks).where(webhooks.c.id == webhook_id).values(updated_at=at, **values)
        self._connection.execute(changed)

    def delete(self, webhook_id: UUID) -> None:
        self._connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))


class Deliveries(Leases[Delivery], table=webhook_deliveries, row=Delivery):
    def insert(self, deliveries: Sequence[Delivery]) -> None:
        self._connection.execute(_INSERT_DELIVERIES, [vars(delivery) for delivery in deliveries])

    def are_due(self, at: datetime, *, without: Collection[UUID] = ()) -> bool:
        return self.is_due(at, webhook_deliveries.c.webhook_id.not_in(without))

    def claim_next(
        self, owner: str, *, at: datetime, lease_until: datetime, without: Collection[UUID] = ()
    ) -> Delivery | None:
        """Take the delivery that is due longest, but to none of the webhooks in `without`."""
        but = webhook_deliveries.c.webhook_id.not_in(without)
        return self.claim(owner, but, at=at, lease_until=lease_until)

    def settle(self, delivery: Delivery, status: str, *, at: datetime, outcome: str | None = None) -> bool:
        """Close a claimed delivery. False where the lease was lost to another worker."""
        sent_at = at if status == "sent" else None
        return self._settle(delivery, status=status, sent_at=sent_at, outcome=outcome)

    def retry(self, delivery: Delivery, *, next_attempt_at: datetime, outcome: str) -> bool:
        return self._settle(delivery, next_attempt_at=next_attempt_at, outcome=outcome)

    def put_off_others(self, webhook_id: UUID, *, at: datetime, until: datetime) -> None:
        """What is due to this webhook and in nobody's hands waits."""
        own = webhook_deliveries.c.webhook_id == webhook_id
        put_off = update(webhook_deliveries).where(own, *self._due(at)).values(next_attempt_at=until)
        self._connection.execute(put_off)

    def give_up_others(self, webhook_id: UUID, *, at: datetime) -> int:
        """Those to this webhook that are in nobody's hands and whose time is over; how many."""
        columns = webhook_deliveries.c
        over = columns.webhook_id == webhook_id, columns.give_up_at <= at
        given_up = update(webhook_deliveries).where(*over, *self._due(at)).values(status="dead")
        return self._connection.execute(given_up).rowcount

    def hold_back(self) -> int:
        """Give up all that is due, so that nothing goes out before an operator says so; how many."""
        return self._hold_back(outcome="held back")

    def drop(self, webhook_id: UUID) -> int:
        """Nothing more goes to this webhook; how many were still due."""
        columns = webhook_deliveries.c
        due = columns.webhook_id == webhook_id, columns.status == "due"
        dropped = (
            update(webhook_deliveries)
            .where(*due)
            .values(status="dropped", lease_until=None, lease_owner=None)
        )
        return self._connection.execute(dropped).rowcount

    def newest(self, *, webhook_id: UUID | None, status: str | None, limit: int) -> list[Delivery]:
        columns = webhook_deliveries.c
        wanted = [columns.webhook_id == webhook_id] if webhook_id else []
        return self._newest(*wanted, *[columns.status == status] if status else [], limit=limit)

    def waiting(self) -> dict[UUID, tuple[int, datetime]]:
        """How many are due to each webhook, and when the oldest of them was written."""
        columns = webhook_deliveries.c
        counted = select(columns.webhook_id, func.count(), func.min(columns.created_at))
        found = counted.where(columns.status == "due").group_by(columns.webhook_id)
        return {webhook_id: (count, oldest) for webhook_id, count, oldest in self._connection.execute(found)}

    def _done(self, before: datetime) -> tuple[Any, ...]:
        """The dead too: unlike a mail they are worth nothing after so long, and the audit tells of them."""
        status = webhook_deliveries.c.status
        return status.in_(("sent", "dead", "failed", "dropped")), webhook_deliveries.c.created_at < before
