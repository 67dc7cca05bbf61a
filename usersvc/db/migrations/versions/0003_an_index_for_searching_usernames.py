"""An index of all usernames, so that a search by their beginning looks at no others."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_username_key", "users", ["username_key"])


def downgrade() -> None:
    op.drop_index("ix_users_username_key", "users")
