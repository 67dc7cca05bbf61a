"""Service accounts with their credentials, tokens that were revoked, and services that act in the audit."""

import sqlalchemy as sa
from alembic import op

from usersvc.db.types import UtcDateTime, key_type

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = ("anonymous", "user", "operator", "job")


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", key_type(64), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("audiences", sa.JSON(), nullable=False),
        sa.Column("may_end_sessions", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deactivated_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
    )
    op.create_index("uq_services_name", "services", ["name"], unique=True)
    op.create_table(
        "service_credentials",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hint", sa.String(length=4), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["services.id"],
            name=op.f("fk_service_credentials_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_credentials")),
    )
    op.create_index("uq_service_credentials_digest", "service_credentials", ["digest"], unique=True)
    op.create_index("ix_service_credentials_service_id", "service_credentials", ["service_id"])
    op.create_table(
        "revoked_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revoked_tokens")),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])
    _let_act(*_KINDS, "service", before=_KINDS)


def downgrade() -> None:
    # What a service did stays told, by its name.
    op.execute("UPDATE audit SET actor_kind = 'anonymous' WHERE actor_kind = 'service'")
    _let_act(*_KINDS, before=(*_KINDS, "service"))
    op.drop_table("revoked_tokens")
    op.drop_table("service_credentials")
    op.drop_table("services")


def _let_act(*kinds: str, before: tuple[str, ...]) -> None:
    """SQLite cannot change a CHECK: there every row is copied into a new table, whose indexes come last."""
    with op.batch_alter_table("audit", copy_from=_audit(before)) as audit:
        audit.drop_constraint(op.f("ck_audit_actor_kind"), type_="check")
        audit.create_check_constraint(op.f("ck_audit_actor_kind"), _is_one_of(kinds))


def _is_one_of(kinds: tuple[str, ...]) -> str:
    return f"actor_kind IN ({', '.join(repr(kind) for kind in kinds)})"


def _audit(kinds: tuple[str, ...]) -> sa.Table:
    """As it stands. Alembic does not find its CHECK by itself."""
    return sa.Table(
        "audit",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(length=64), nullable=True),
        sa.Column("action", key_type(48), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=True),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("outcome", sa.String(length=48), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint(_is_one_of(kinds), name=op.f("ck_audit_actor_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.Index("ix_audit_at_id", "at", "id"),
        sa.Index("ix_audit_target_id_id", "target_id", "id"),
        sa.Index("ix_audit_actor_id_id", "actor_id", "id"),
        sa.Index("ix_audit_action_id", "action", "id"),
    )
