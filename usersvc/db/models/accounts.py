"""Accounts, where they are logged in, and what is mailed to them as a link."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    Uuid,
    false,
    text,
)

from usersvc.db.models.schema import metadata, one_of
from usersvc.db.types import UtcDateTime, key_type

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
    Column("must_change_password", Boolean, nullable=False, server_default=false()),  # an operator knows it
    one_of("role", "user", "moderator", "admin"),
    one_of("status", "pending", "invited", "active", "deactivated"),
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
    Column("subject_id", Uuid),  # a change of address, or a session
    one_of("purpose", "activation", "invitation", "reset", "email_change", "email_revert", "login_revoke"),
    Index("uq_link_tokens_digest", "digest", unique=True),
    Index(
        "uq_link_tokens_user_id_purpose",
        "user_id",
        "purpose",
        unique=True,
        sqlite_where=text(  # of the others there is one for each change of address or session
            "used_at IS NULL AND revoked_at IS NULL "
            "AND purpose <> 'email_revert' AND purpose <> 'login_revoke'"
        ),
    ),
    Index("ix_link_tokens_user_id", "user_id"),
    Index("ix_link_tokens_key_id", "key_id"),
    Index("ix_link_tokens_expires_at", "expires_at"),
)

email_changes = Table(
    "email_changes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("new_email", String(320), nullable=False),
    Column("new_email_key", key_type(320), nullable=False),
    Column("session_id", Uuid),  # of who asked; none of an operator
    Column("requested_at", UtcDateTime, nullable=False),
    Column("old_email", String(320)),
    Column("old_email_key", key_type(320)),
    Column("confirmed_at", UtcDateTime),
    # Until when it can be confirmed; then, until when it can be undone and nobody else gets the old address.
    Column("expires_at", UtcDateTime, nullable=False),
    CheckConstraint("(confirmed_at IS NULL) = (old_email_key IS NULL)", name="old_email_key"),
    Index("ix_email_changes_user_id", "user_id"),
    Index("ix_email_changes_old_email_key", "old_email_key"),
    Index("ix_email_changes_expires_at", "expires_at"),
)

logins_from = Table(
    "logins_from",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("network_digest", LargeBinary(32), primary_key=True),
    Column("last_at", UtcDateTime, nullable=False),
    Index("ix_logins_from_last_at", "last_at"),
)

known_devices = Table(
    "known_devices",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("device_digest", LargeBinary(32), primary_key=True),
    Column("last_at", UtcDateTime, nullable=False),
    Index("ix_known_devices_last_at", "last_at"),
)
