"""Webhooks, and what is told to them."""

from sqlalchemy import JSON, CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Uuid, text

from usersvc.db.models.schema import metadata, one_of
from usersvc.db.types import UtcDateTime

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("url", String(2000), nullable=False),
    # None of them means all.
    Column("events", JSON, nullable=False),
    Column("description", String(200), nullable=False),
    Column("secret_wrapped", LargeBinary, nullable=False),
    Column("old_secret_wrapped", LargeBinary),
    Column("old_secret_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    CheckConstraint("(old_secret_wrapped IS NULL) = (old_secret_until IS NULL)", name="old_secret"),
)

# No foreign keys: who registers must not wait for an operator who deletes a webhook, nor fail because of it;
# and an account that was deleted is told of afterwards.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("webhook_id", Uuid, nullable=False),
    Column("event", String(32), nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("data", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("lease_owner", String(64)),
    Column("outcome", String(32)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("give_up_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("request_id", String(64)),
    # As in the outbox; failed: the receiver wants nothing more.
    one_of("status", "due", "sent", "dead", "failed", "dropped"),
    Index(
        "ix_webhook_deliveries_next_attempt_at",
        "next_attempt_at",
        sqlite_where=text("status = 'due'"),
    ),
    Index("ix_webhook_deliveries_webhook_id", "webhook_id", sqlite_where=text("status = 'due'")),
    Index("ix_webhook_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    Index("ix_webhook_deliveries_status_created_at", "status", "created_at"),
)
