"""Groups: their permissions, which relying services ask for, and their members."""

import sqlalchemy as sa
from alembic import op

from usersvc.db.types import UtcDateTime, key_type

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", key_type(32), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
    )
    op.create_index("uq_groups_name", "groups", ["name"], unique=True)
    op.create_table(
        "group_permissions",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("permission", key_type(65), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name="fk_group_permissions_group_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "permission", name="pk_group_permissions"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("manager", sa.Boolean(), nullable=False),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name="fk_group_members_group_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_group_members_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_members"),
    )
    op.create_index("ix_group_members_user_id_group_id", "group_members", ["user_id", "group_id"])


def downgrade() -> None:
    op.drop_table("group_members")
    op.drop_table("group_permissions")
    op.drop_table("groups")
