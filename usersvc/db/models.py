"""The schema, as tables of SQLAlchemy Core; the repositories speak to it, the migrations make it."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from usersvc.db.types import UtcDateTime, key_type

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", String(320), nullable=False),
    Column("email_key", key_type(320), nullable=False),
    Column("email_verified_at", UtcDateTime),
    Column("username", String(32)),
    Column("username_key", key_type(32)),
    Column("role", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("password_hash", String(255)),
    Column("invited_at", UtcDateTime),
    Column("registered_at", UtcDateTime),
    Column("activated_at", UtcDateTime),
    Column("deactivated_at", UtcDateTime),
    Column("password_changed_at", UtcDateTime),
    Column("last_login_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # JSON text, as it goes out; none is {}. JSON of PostgreSQL's would be rewritten by it.
    Column("profile", Text),
    Column("attributes", Text),
    # A tag of locales.py; none is the one of the settings.
    Column("locale", String(35)),
    Column("deletion_due_at", UtcDateTime),
    _one_of("role", "user", "moderator", "admin"),
    _one_of("status", "pending", "invited", "active", "deactivated"),
    Index("uq_users_email_key", "email_key", unique=True),
    # A username is a wish until activation: only accounts that were ever active hold theirs.
    Index(
        "uq_users_username_key",
        "username_key",
        unique=True,
        sqlite_where=text("activated_at IS NOT NULL"),
    ),
    # For the search, which finds wishes too.
    Index("ix_users_username_key", "username_key"),
    Index("ix_users_created_at_id", "created_at", "id"),
    Index("ix_users_status_registered_at", "status", "registered_at"),
    Index("ix_users_invited_at", "invited_at", sqlite_where=text("status = 'invited'")),
    Index(
        "ix_users_active_admins",
        "id",
        sqlite_where=text("role = 'admin' AND status = 'active'"),
    ),
    Index(
        "ix_users_deletion_due_at",
        "deletion_due_at",
        sqlite_where=text("deletion_due_at IS NOT NULL"),
    ),
)

# What is left of an account that was erased: in a backup of before it is found by this, and erased again.
erasures = Table(
    "erasures",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("erased_at", UtcDateTime, nullable=False),
    Index("ix_erasures_erased_at", "erased_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("rnd_digest", LargeBinary(32), nullable=False),
    Column("rotated_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("absolute_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("end_reason", String(32)),
    Column("ip", String(45)),
    Column("user_agent", String(256)),
    CheckConstraint("seq >= 1", name="seq"),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="end_reason"),
    Index("ix_sessions_user_id_ended_at", "user_id", "ended_at"),
    Index("ix_sessions_expires_at", "expires_at"),
    Index("ix_sessions_ended_at", "ended_at"),
)

link_tokens = Table(
    "link_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("key_id", String(32), ForeignKey("keys.kid"), nullable=False),
    Column("nonce", LargeBinary(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    _one_of("purpose", "activation", "invitation", "reset"),
    Index("uq_link_tokens_digest", "digest", unique=True),
    Index(
        "uq_link_tokens_user_id_purpose",
        "user_id",
        "purpose",
        unique=True,
        sqlite_where=text("used_at IS NULL AND revoked_at IS NULL"),
    ),
    Index("ix_link_tokens_user_id", "user_id"),
    Index("ix_link_tokens_key_id", "key_id"),
    Index("ix_link_tokens_expires_at", "expires_at"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", key_type(32), nullable=False),
    Column("description", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("uq_groups_name", "name", unique=True),
)

group_permissions = Table(
    "group_permissions",
    metadata,
    Column("group_id", Uuid, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("permission", key_type(65), primary_key=True),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", Uuid, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("manager", Boolean, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Index("ix_group_members_user_id_group_id", "user_id", "group_id"),
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
    _one_of("use", "access", "refresh", "link", "cursor", "throttle"),
    Index(
        "uq_keys_use",
        "use",
        unique=True,
        sqlite_where=text("retired_at IS NULL"),
    ),
)

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
    _one_of("status", "due", "sent", "dead", "failed", "dropped"),
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
    _one_of("actor_kind", "anonymous", "user", "operator", "job", "service"),
    Index("ix_audit_at_id", "at", "id"),
    Index("ix_audit_target_id_id", "target_id", "id"),
    Index("ix_audit_actor_id_id", "actor_id", "id"),
    Index("ix_audit_action_id", "action", "id"),
)

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

logins_from = Table(
    "logins_from",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("network_digest", LargeBinary(32), primary_key=True),
    Column("last_at", UtcDateTime, nullable=False),
    Index("ix_logins_from_last_at", "last_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("last_slot", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("counts", JSON, nullable=False),
)

instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret_check", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
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
    _one_of("status", "due", "sent", "dead", "failed", "dropped"),
    Index(
        "ix_webhook_deliveries_next_attempt_at",
        "next_attempt_at",
        sqlite_where=text("status = 'due'"),
    ),
    Index("ix_webhook_deliveries_webhook_id", "webhook_id", sqlite_where=text("status = 'due'")),
    Index("ix_webhook_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    Index("ix_webhook_deliveries_status_created_at", "status", "created_at"),
)
