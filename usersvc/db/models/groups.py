"""Groups, what they permit, and who is in them."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, String, Table, Uuid

from usersvc.db.models.schema import metadata
from usersvc.db.types import UtcDateTime, key_type

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
