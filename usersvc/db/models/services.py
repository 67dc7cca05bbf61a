"""Service accounts, their secrets, and tokens that were revoked."""

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Uuid

from usersvc.db.models.schema import metadata
from usersvc.db.types import UtcDateTime, key_type

services = Table(
    "services",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", key_type(64), nullable=False),
    Column("description", String(200), nullable=False),
    Column("permissions", JSON, nullable=False),
    Column("audiences", JSON, nullable=False),
    Column("may_end_sessions", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deactivated_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Index("uq_services_name", "name", unique=True),
)

service_credentials = Table(
    "service_credentials",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("service_id", Uuid, ForeignKey("services.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("hint", String(4), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index("uq_service_credentials_digest", "digest", unique=True),
    Index("ix_service_credentials_service_id", "service_id"),
)

# Of services' access tokens, which have no row of their own; only until they would have expired.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_revoked_tokens_expires_at", "expires_at"),
)
