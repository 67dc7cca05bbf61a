"""What the instance keeps of itself: keys, audit, limits, jobs."""

from sqlalchemy import JSON, CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Uuid, text

from usersvc.db.models.schema import metadata, one_of
from usersvc.db.types import UtcDateTime, key_type

instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret_check", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

keys = Table(
    "keys",
    metadata,
    Column("kid", String(32), primary_key=True),
    Column("use", String(16), nullable=False),
    Column("algorithm", String(16), nullable=False),
    Column("public_jwk", JSON(none_as_null=True)),
    Column("private_wrapped", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("signs_from", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),
    Column("compromised_at", UtcDateTime),
    one_of("use", "access", "refresh", "link", "cursor", "throttle"),
    Index(
        "uq_keys_use",
        "use",
        unique=True,
        sqlite_where=text("retired_at IS NULL"),
    ),
)

# No foreign keys: an entry outlives whom it names.
audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", Uuid),
    Column("actor_name", String(64)),
    Column("action", key_type(48), nullable=False),
    Column("target_id", Uuid),
    Column("ip", String(45)),
    Column("outcome", String(48), nullable=False),
    Column("request_id", String(64)),
    Column("detail", JSON, nullable=False),
    one_of("actor_kind", "anonymous", "user", "operator", "job", "service"),
    Index("ix_audit_at_id", "at", "id"),
    Index("ix_audit_target_id_id", "target_id", "id"),
    Index("ix_audit_actor_id_id", "actor_id", "id"),
    Index("ix_audit_action_id", "action", "id"),
)

throttle = Table(
    "throttle",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key_digest", LargeBinary(32), primary_key=True),
    Column("window_started_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("blocked_until", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_throttle_expires_at", "expires_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("last_slot", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("counts", JSON, nullable=False),
)

# How far a file was brought in: one row each, known by what is in it and what was asked for.
imports = Table(
    "imports",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("records", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("imported", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
