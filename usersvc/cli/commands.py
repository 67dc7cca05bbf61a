"""Which commands there are, and where; the module of one is imported when it is called.

So `--help`, and what a shell asks to complete a line, need none of them: docs/decisions/0006.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand
from typer.main import get_command

from usersvc.cli.headings import BoldHeadings, explain


class Listed(NamedTuple):
    name: str
    module: str
    section: str
    help: str
    """The first sentence of the command's docstring."""


COMMANDS = [
    Listed(
        "serve",
        "server",
        "Server",
        "Make or migrate the database, then serve the API, with a worker inside.",
    ),
    Listed("worker", "server", "Server", "Send mail and run the periodic jobs, apart from the API."),
    Listed("create-admin", "users", "Users", "Make an active administrator, or promote an existing account."),
    Listed("show-user", "users", "Users", "Show an account."),
    Listed("list-users", "directory", "Users", "List accounts."),
    Listed("export-users", "exporting", "Users", "Write accounts into a file, or to standard output."),
    Listed(
        "invite-user",
        "admin",
        "Users",
        "Make an account for somebody and mail a link to choose its password.",
    ),
    Listed(
        "import-users",
        "importing",
        "Users",
        "Bring users in from a file, with the password hashes of another program.",
    ),
    Listed("set-role", "admin", "Users", "Give an account another role, or many that options choose."),
    Listed("set-locale", "locales", "Users", "Set the language of mails to a user."),
    Listed("set-profile", "profiles", "Users", "Put a JSON object in the place of a user's profile."),
    Listed("set-attributes", "profiles", "Users", "Put a JSON object in the place of a user's attributes."),
    Listed(
        "check-profiles",
        "profiles",
        "Users",
        "List profiles and attributes that do not fit their schema, as it is now.",
    ),
    Listed("activate", "admin", "Users", "Let an account in, or many that options choose."),
    Listed(
        "deactivate",
        "admin",
        "Users",
        "Shut an account out, or many that options choose.",
    ),
    Listed("unlock", "admin", "Users", "Open a login that was locked after too many failures."),
    Listed("reset-password", "passwords", "Users", "Mail a link that resets the password."),
    Listed(
        "set-password",
        "passwords",
        "Users",
        "Set a user's password, which the user has to replace before logging in.",
    ),
    Listed(
        "change-email",
        "email_change",
        "Users",
        "Change a user's address, once a mailed link is opened there.",
    ),
    Listed("sessions", "sessions", "Users", "List where a user is logged in."),
    Listed(
        "revoke-sessions",
        "sessions",
        "Users",
        "End all sessions of a user, or of many that options choose; it acts at once.",
    ),
    Listed("export-user", "erasure", "Users", "Print everything that is held about a user, as JSON."),
    Listed(
        "delete-user",
        "erasure",
        "Users",
        "Have an account deleted in some days; logging in until then keeps it.",
    ),
    Listed("forget-user", "erasure", "Users", "Erase an account, now and for good."),
    Listed(
        "erasures",
        "erasure",
        "Users",
        "List the ids of accounts that were erased, and when, the oldest first.",
    ),
    Listed(
        "create-group",
        "groups",
        "Groups",
        "Make a group, with permissions of the services that check tokens.",
    ),
    Listed("list-groups", "groups", "Groups", "List groups."),
    Listed("show-group", "groups", "Groups", "Show a group: its permissions, and who is in it."),
    Listed("change-group", "groups", "Groups", "Rename a group, or change what it permits."),
    Listed("delete-group", "groups", "Groups", "Delete a group for good; its members lose its permissions."),
    Listed(
        "add-member",
        "members",
        "Groups",
        "Make an account a member of a group; its next token has what the group permits.",
    ),
    Listed(
        "remove-member",
        "members",
        "Groups",
        "Take an account out of a group; its next token does not have what the group permits.",
    ),
    Listed(
        "create-service",
        "service_accounts",
        "Services",
        "Make a service account and show its secret, this once.",
    ),
    Listed("list-services", "service_accounts", "Services", "List service accounts."),
    Listed("show-service", "service_accounts", "Services", "Show a service account and its credentials."),
    Listed("change-service", "service_accounts", "Services", "Change what a service account may do."),
    Listed(
        "rotate-service",
        "service_accounts",
        "Services",
        "Make another secret; those before it work a while longer.",
    ),
    Listed(
        "revoke-credential", "service_accounts", "Services", "Refuse one secret of a service from now on."
    ),
    Listed("deactivate-service", "service_accounts", "Services", "Shut a service account out, at once."),
    Listed("activate-service", "service_accounts", "Services", "Let a deactivated service account in again."),
    Listed(
        "delete-service",
        "service_accounts",
        "Services",
        "Delete a service account for good, with its secrets.",
    ),
    Listed("outbox", "mail", "Mail", "List mails."),
    Listed("retry-mail", "mail", "Mail", "Try a mail again that was given up."),
    Listed(
        "preview-mail",
        "previews",
        "Mail",
        "Show a mail as it would go out, made of sample values and of your templates.",
    ),
    Listed(
        "send-test-mail",
        "mail",
        "Mail",
        "Send a mail now, past the outbox, to see whether the settings are right.",
    ),
    Listed("webhooks", "webhooks", "Webhooks", "List webhooks: who is told what happens to accounts."),
    Listed("create-webhook", "webhooks", "Webhooks", "Tell a URL of events, and show the secret that signs."),
    Listed(
        "change-webhook", "webhooks", "Webhooks", "Give a webhook another URL or other events, or disable it."
    ),
    Listed(
        "rotate-webhook-secret",
        "webhooks",
        "Webhooks",
        "Give a webhook another secret; for a day the old one signs too.",
    ),
    Listed("delete-webhook", "webhooks", "Webhooks", "Forget a webhook and its secret."),
    Listed("test-webhook", "webhooks", "Webhooks", "Send a test event now, and tell its status."),
    Listed("webhook-deliveries", "webhooks", "Webhooks", "List what was sent to webhooks, or waits."),
    Listed("retry-delivery", "webhooks", "Webhooks", "Try a delivery again that was given up."),
    Listed("audit", "audit", "Audit", "Show what happened, who did it and to whom."),
    Listed(
        "keys",
        "keys",
        "Keys",
        "List the keys that sign tokens, links and cursors, and those that still verify.",
    ),
    Listed("rotate-keys", "keys", "Keys", "Make new keys, which begin to sign later."),
    Listed(
        "retire-key",
        "keys",
        "Keys",
        "Accept nothing any more that a key signed: for one that others may have seen.",
    ),
    Listed("rotate-secret", "keys", "Keys", "Replace the secret key."),
    Listed("migrate", "database", "Database", "Make the database, or bring its schema up to date."),
    Listed(
        "purge-tokens",
        "database",
        "Database",
        "Delete what expired, as the hourly job does: links, sessions, accounts never activated, sent mail.",
    ),
    Listed(
        "copy-database",
        "database",
        "Database",
        "Copy everything into another database: from SQLite to PostgreSQL, or back.",
    ),
    Listed("backup", "backups", "Database", "Write the database to a file, while everything runs."),
    Listed(
        "verify-backup",
        "backups",
        "Database",
        "Read a backup from end to end, and tell what is in it and whether it can be restored.",
    ),
    Listed(
        "restore",
        "backups",
        "Database",
        "Put a backup in the place of the database, and end what it would revive, as after-restore does.",
    ),
    Listed(
        "after-restore",
        "backups",
        "Database",
        "End what a database revives that was restored by other means: sessions, links, keys, mails.",
    ),
    Listed(
        "apply",
        "apply",
        "Settings",
        "Bring roles, groups, services and webhooks to what a file says.",
    ),
    Listed(
        "check-config",
        "configuration",
        "Settings",
        "Check the settings file and the variables; every mistake is shown at once.",
    ),
    Listed(
        "show-config",
        "configuration",
        "Settings",
        "Show every setting, its value with secrets masked, and where it came from.",
    ),
    Listed(
        "status",
        "status",
        "Settings",
        "Show how usersvc fares: users, activity, processes, mail, webhooks and the database.",
    ),
    Listed(
        "doctor",
        "doctor",
        "Settings",
        "Check settings, keys, database, worker, mail, webhooks, clock and disk.",
    ),
]


_PLACEHOLDERS: dict[Any, str] = {int: "N", str: "TEXT", Path: "FILE"}
"""For the values of options, where Typer would show the name of a type."""


class Command(BoldHeadings, TyperCommand):
    pass


def load(name: str) -> Any:
    """The command itself, with its arguments and options."""
    [module] = [listed.module for listed in COMMANDS if listed.name == name]
    function = getattr(import_module(f"usersvc.cli.{module}"), name.replace("-", "_"))
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    prose, examples = explain(function.__doc__)
    alone.command(name, cls=Command, help=prose, epilog=examples)(function)
    command: Any = get_command(alone)
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.metavar:
            parameter.metavar = _PLACEHOLDERS.get(parameter.type_descriptor.annotation)
    return command


def in_brief(listed: Listed) -> TyperCommand:
    """What stands in a list of commands."""
    return TyperCommand(
        listed.name, short_help=listed.help, rich_help_panel=listed.section, rich_markup_mode=None
    )
