"""The schema, as tables of SQLAlchemy Core; the repositories speak to it, the migrations make it."""

from usersvc.db.models.accounts import (
    email_changes,
    erasures,
    known_devices,
    link_tokens,
    logins_from,
    sessions,
    users,
)
from usersvc.db.models.groups import group_members, group_permissions, groups
from usersvc.db.models.instance import audit, imports, instance, jobs, keys, throttle
from usersvc.db.models.mail import outbox
from usersvc.db.models.schema import metadata
from usersvc.db.models.services import revoked_tokens, service_credentials, services
from usersvc.db.models.webhooks import webhook_deliveries, webhooks

__all__ = [
    "audit",
    "email_changes",
    "erasures",
    "group_members",
    "group_permissions",
    "groups",
    "imports",
    "instance",
    "jobs",
    "keys",
    "known_devices",
    "link_tokens",
    "logins_from",
    "metadata",
    "outbox",
    "revoked_tokens",
    "service_credentials",
    "services",
    "sessions",
    "throttle",
    "users",
    "webhook_deliveries",
    "webhooks",
]
