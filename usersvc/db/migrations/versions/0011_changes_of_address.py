"""Changes of address with a way back, passwords that must be changed, devices that logged in."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

from usersvc.db.types import UtcDateTime, key_type

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_PURPOSES = ("activation", "invitation", "reset")
_MORE = ("email_change", "email_revert", "login_revoke")
_OPEN = "used_at IS NULL AND revoked_at IS NULL"
_ONE_OF_A_KIND = f"{_OPEN} AND purpose <> 'email_revert' AND purpose <> 'login_revoke'"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("must_change_password", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_table(
        "email_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("new_email", sa.String(length=320), nullable=False),
        sa.Column("new_email_key", key_type(320), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("old_email", sa.String(length=320), nullable=True),
        sa.Column("old_email_key", key_type(320), nullable=True),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "(confirmed_at IS NULL) = (old_email_key IS NULL)", name=op.f("ck_email_changes_old_email_key")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_email_changes_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_changes")),
    )
    op.create_index("ix_email_changes_user_id", "email_changes", ["user_id"])
    op.create_index("ix_email_changes_old_email_key", "email_changes", ["old_email_key"])
    op.create_index("ix_email_changes_expires_at", "email_changes", ["expires_at"])
    op.create_table(
        "known_devices",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("device_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_known_devices_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "device_digest", name=op.f("pk_known_devices")),
    )
    op.create_index("ix_known_devices_last_at", "known_devices", ["last_at"])
    _keep_mails_links()
    with op.batch_alter_table("link_tokens", copy_from=_link_tokens(_PURPOSES, _OPEN)) as link_tokens:
        link_tokens.drop_constraint(op.f("ck_link_tokens_purpose"), type_="check")
        link_tokens.create_check_constraint(op.f("ck_link_tokens_purpose"), _is_one_of((*_PURPOSES, *_MORE)))
        _point(link_tokens)
        link_tokens.add_column(sa.Column("subject_id", sa.Uuid(), nullable=True))
    _replace_index(_ONE_OF_A_KIND)
    _give_mails_their_links()


def downgrade() -> None:
    listed = ", ".join(repr(purpose) for purpose in _MORE)
    op.execute(f"DELETE FROM link_tokens WHERE purpose IN ({listed})")  # noqa: S608 - literals of this file
    _keep_mails_links()
    before = _link_tokens((*_PURPOSES, *_MORE), _ONE_OF_A_KIND, sa.Column("subject_id", sa.Uuid()))
    with op.batch_alter_table("link_tokens", copy_from=before) as link_tokens:
        link_tokens.drop_constraint(op.f("ck_link_tokens_purpose"), type_="check")
        link_tokens.create_check_constraint(op.f("ck_link_tokens_purpose"), _is_one_of(_PURPOSES))
        _point(link_tokens)
        link_tokens.drop_column("subject_id")
    _replace_index(_OPEN)
    _give_mails_their_links()
    op.drop_table("known_devices")
    op.drop_table("email_changes")
    op.drop_column("users", "must_change_password")


def _point(link_tokens: BatchOperations) -> None:
    """The copy's foreign keys, always in this order: Alembic would have them in any."""
    if _is_sqlite():
        link_tokens.create_foreign_key(op.f("fk_link_tokens_key_id"), "keys", ["key_id"], ["kid"])
        link_tokens.create_foreign_key(
            op.f("fk_link_tokens_user_id"), "users", ["user_id"], ["id"], ondelete="CASCADE"
        )


def _keep_mails_links() -> None:
    """SQLite changes a CHECK by copying the table; dropping the old one empties what points to it."""
    if _is_sqlite():
        op.execute(
            "CREATE TEMPORARY TABLE kept_links AS "
            "SELECT id, link_token_id FROM outbox WHERE link_token_id IS NOT NULL"
        )


def _give_mails_their_links() -> None:
    if _is_sqlite():
        op.execute(
            "UPDATE outbox SET link_token_id = kept_links.link_token_id FROM kept_links "
            "WHERE kept_links.id = outbox.id"
        )
        op.execute("DROP TABLE temp.kept_links")


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _replace_index(condition: str) -> None:
    where = sa.text(condition)
    op.drop_index("uq_link_tokens_user_id_purpose", "link_tokens")
    op.create_index(
        "uq_link_tokens_user_id_purpose",
        "link_tokens",
        ["user_id", "purpose"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _is_one_of(purposes: tuple[str, ...]) -> str:
    return f"purpose IN ({', '.join(repr(purpose) for purpose in purposes)})"


def _link_tokens(purposes: tuple[str, ...], condition: str, *more: sa.Column[object]) -> sa.Table:
    """As it stands, but for its foreign keys. Alembic does not find its CHECK by itself."""
    return sa.Table(
        "link_tokens",
        sa.MetaData(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        *more,
        sa.CheckConstraint(_is_one_of(purposes), name=op.f("ck_link_tokens_purpose")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_tokens")),
        sa.Index("uq_link_tokens_digest", "digest", unique=True),
        sa.Index(
            "uq_link_tokens_user_id_purpose",
            "user_id",
            "purpose",
            unique=True,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        ),
        sa.Index("ix_link_tokens_user_id", "user_id"),
        sa.Index("ix_link_tokens_key_id", "key_id"),
        sa.Index("ix_link_tokens_expires_at", "expires_at"),
    )
