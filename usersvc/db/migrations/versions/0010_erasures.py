"""When an account is to be erased, and which ones were."""

import sqlalchemy as sa
from alembic import op

from usersvc.db.types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DUE = "deletion_due_at IS NOT NULL"


def upgrade() -> None:
    op.add_column("users", sa.Column("deletion_due_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_users_deletion_due_at",
        "users",
        ["deletion_due_at"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    op.create_table(
        "erasures",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_erasures"),
    )
    op.create_index("ix_erasures_erased_at", "erasures", ["erased_at"])
    op.drop_index("ix_outbox_user_id", "outbox")
    op.create_index("ix_outbox_user_id_address", "outbox", ["user_id", "address"])


def downgrade() -> None:
    op.drop_index("ix_outbox_user_id_address", "outbox")
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])
    op.drop_table("erasures")
    op.drop_index("ix_users_deletion_due_at", "users")
    op.drop_column("users", "deletion_due_at")
