"""What users keep about themselves, and administrators about them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("profile", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("attributes", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "attributes")
    op.drop_column("users", "profile")
