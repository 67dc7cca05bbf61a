"""Every use case that writes, as it is done for real, and what the audit then tells.

A case prepares up to its `yield` and acts after it. An event is told as: action, who acted, to whom, outcome.
"""

from tests.audited import (
    accounts,
    backups,
    erasure,
    groups,
    imports,
    instance,
    locales,
    logins,
    mail,
    many,
    passwords,
    service_accounts,
    webhooks,
)
from tests.audited.case import CASES, PURGE, Case, World

__all__ = [
    "CASES",
    "PURGE",
    "Case",
    "World",
    "accounts",
    "backups",
    "erasure",
    "groups",
    "imports",
    "instance",
    "locales",
    "logins",
    "mail",
    "many",
    "passwords",
    "service_accounts",
    "webhooks",
]
