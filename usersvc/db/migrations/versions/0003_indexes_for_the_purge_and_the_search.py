"""Indexes for the purge, which else looks at every session, network and account while it holds up all
writers, and for the search by the beginning of a username.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"])
    op.create_index("ix_logins_from_last_at", "logins_from", ["last_at"])
    op.create_index("ix_users_username_key", "users", ["username_key"])
    invited = sa.text("status = 'invited'")
    op.create_index(
        "ix_users_invited_at", "users", ["invited_at"], sqlite_where=invited, postgresql_where=invited
    )


def downgrade() -> None:
    op.drop_index("ix_users_invited_at", "users")
    op.drop_index("ix_users_username_key", "users")
    op.drop_index("ix_logins_from_last_at", "logins_from")
    op.drop_index("ix_sessions_ended_at", "sessions")
