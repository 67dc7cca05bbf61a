"""What other programs are told of accounts, written down in the transaction that makes it true.

A step beside `tx.audit`, for what concerns who has such an account: tests/services/test_events.py holds that
none is forgotten.
"""

from uuid import UUID

from usersvc import logs
from usersvc.clock import rfc_3339
from usersvc.core import Tx
from usersvc.repositories.webhooks import Delivery
from usersvc.security.secrets import new_id
from usersvc.services._leases import GIVE_UP_AFTER
from usersvc.webhooks.events import Event


def tell(tx: Tx, event: Event, *user_ids: UUID) -> None:
    """Write a delivery of this event to each webhook that wants it, about the accounts as they stand now."""
    if _write(tx, event, user_ids):
        tx.wake_worker()


def pretend(tx: Tx, event: Event, user_id: UUID) -> None:
    """The work of `tell` where there is nothing to tell.

    So that how long an answer takes says nothing of what is in the database.
    """
    _write(tx, event, (user_id,), status="dropped", outcome="nothing to tell")


def _write(
    tx: Tx, event: Event, user_ids: tuple[UUID, ...], *, status: str = "due", outcome: str | None = None
) -> bool:
    """Whether anybody wants it."""
    webhook_ids = tx.webhooks.wanting(event) if user_ids else []
    if not webhook_ids:
        return False
    tx.deliveries.insert(
        [
            Delivery(
                id=new_id(tx.now),
                webhook_id=webhook_id,
                event=event,
                user_id=user_id,
                data=data,
                status=status,
                attempts=0,
                next_attempt_at=tx.now,
                created_at=tx.now,
                give_up_at=tx.now + GIVE_UP_AFTER,
                outcome=outcome,
                request_id=logs.current_request(),
            )
            for user_id, data in ((user_id, _about(tx, event, user_id)) for user_id in user_ids)
            for webhook_id in webhook_ids
        ]
    )
    return True


def _about(tx: Tx, event: Event, user_id: UUID) -> dict[str, str]:
    """The id, and what decides what the account may do; neither name nor address."""
    user = None if event in (Event.DELETED, Event.ERASED) else tx.users.by_id(user_id)
    found = {"user_id": str(user_id), **({"status": user.status, "role": user.role} if user else {})}
    if event is Event.DELETION_SCHEDULED and user and user.deletion_due_at:
        found["deletion_due_at"] = rfc_3339(user.deletion_due_at)
    return found
