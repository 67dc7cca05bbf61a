"""Mails that wait, were sent, or were given up."""

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text, Uuid, text

from usersvc.db.models.schema import metadata, one_of
from usersvc.db.types import UtcDateTime

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE")),
    Column("address", String(320), nullable=False),
    Column("link_token_id", Uuid, ForeignKey("link_tokens.id", ondelete="SET NULL")),
    Column("data", JSON, nullable=False),
    Column("message_id", String(400), nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("lease_owner", String(64)),
    Column("last_error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("give_up_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("request_id", String(64)),
    # due: to be sent, or being sent under a lease; dead: given up; failed: refused for good;
    # dropped: nothing to send any more.
    one_of("status", "due", "sent", "dead", "failed", "dropped"),
    Index("uq_outbox_message_id", "message_id", unique=True),
    # By the address without an account is found what was asked for there before anybody looked whose it is.
    Index("ix_outbox_user_id_address", "user_id", "address"),
    Index("ix_outbox_link_token_id", "link_token_id"),
    Index("ix_outbox_status_created_at", "status", "created_at"),
    Index(
        "ix_outbox_next_attempt_at",
        "next_attempt_at",
        sqlite_where=text("status = 'due'"),
    ),
)
