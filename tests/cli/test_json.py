"""`--json` is everywhere, and stdout is one document then: the thing as it stands, in one shape."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from tests.cli.conftest import Run
from tests.factories import EMAIL as ADA
from tests.factories import PASSWORD
from tests.hooks import reachable
from tests.receivers import HERE, receiver
from usersvc.cli.commands import COMMANDS, load
from usersvc.core import Core
from usersvc.db.models import outbox, webhook_deliveries

# What commands print is the same on every database.
pytestmark = pytest.mark.sqlite

WITHOUT = {
    "serve": "serves until it is stopped; what it says is its log",
    "export-user": "prints JSON and nothing else",
    "worker": "works until it is stopped; what it says is its log",
}
ROOT = "root@example.org"


@pytest.mark.parametrize("name", [listed.name for listed in COMMANDS])
def test_every_command_can_print_json_but_those_that_have_a_reason(name: str) -> None:
    offered = {form for parameter in load(name).params for form in parameter.opts}
    assert ("--json" in offered) is (name not in WITHOUT)


@pytest.fixture
def document(run: Run) -> Any:
    """Runs a command with `--json`; what it printed, which is one document and nothing else."""

    def document(*arguments: str, text: str | None = None, code: int = 0) -> Any:
        return json.loads(run(*arguments, "--json", text=text, code=code).stdout)

    return document


def test_what_is_done_to_accounts_is_told_as_show_user_has_it(run: Run, document: Any, folder: Path) -> None:
    assert document("migrate")["changed"] is True
    assert document("migrate", "--check")["changed"] is False
    typed = f"{PASSWORD}\n"
    made = document("create-admin", ROOT, "--password-stdin", text=typed)
    assert made == document("show-user", ROOT) == document("create-admin", ROOT, text=typed)
    invited = document("invite-user", ADA, "--role", "moderator", "--username", "ada")
    assert (invited["email"], invited["role"], invited["status"]) == (ADA, "moderator", "invited")
    (folder / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    settings = "profiles.{0}_schema = 'schema.json'"
    (folder / "usersvc.toml").write_text(
        "\n".join(settings.format(kind) for kind in ("profile", "attributes")), encoding="utf-8"
    )
    for command, field in (("set-profile", "profile"), ("set-attributes", "attributes")):
        done = document(command, ADA, "-", text='{"size": 40}')
        assert done[field] == {"size": 40}
        assert done == document("show-user", ADA)
    for command in (("unlock", ADA), ("activate", ADA), ("set-role", ADA, "user"), ("deactivate", ADA)):
        assert document(*command) == document("show-user", ADA)
    assert document("show-user", ADA)["status"] == "deactivated"
    assert document("revoke-sessions", ADA, "--yes") == {"email": ADA, "sessions_ended": 0}
    mailed = document("reset-password", ROOT)
    assert mailed == {"email": ROOT, "mailed": True, "link": None, "expires_at": None}
    shown = document("reset-password", ROOT, "--print-link")
    assert (shown["mailed"], "reset-password?token=" in shown["link"]) == (False, True)
    assert document("send-test-mail", ADA)["address"] == ADA


def test_what_is_done_to_groups_and_services_is_told_as_they_are_shown(run: Run, document: Any) -> None:
    run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    made = document("create-group", "desk", "--permission", "orders:read")
    assert made == document("list-groups")[0]
    assert document("change-group", "desk", "--grant", "stock:read")["permissions"] == [
        "orders:read",
        "stock:read",
    ]
    added = document("add-member", "desk", ROOT, "--manager")
    assert (added["email"], added["member"], added["manager"]) == (ROOT, True, True)
    removed = document("remove-member", "desk", ROOT)
    assert added.keys() == removed.keys()
    assert (removed["group"], removed["member"], removed["manager"]) == ("desk", False, False)
    deleted = run("delete-group", "desk", "--json", text="y\n")
    assert "Delete desk, with its 0 members?" in deleted.stderr
    # Before the document stands the answer, which a terminal would have shown.
    assert json.loads(deleted.stdout.removeprefix(" y\n"))["name"] == "desk"

    credential = document("create-service", "reports")["id"]
    changed = document("change-service", "reports", "--description", "Nightly")
    assert (changed["description"], changed) == ("Nightly", document("show-service", "reports"))
    for command in (
        ("revoke-credential", "reports", credential, "--yes"),
        ("deactivate-service", "reports"),
        ("activate-service", "reports"),
    ):
        assert document(*command) == document("show-service", "reports")


def test_what_is_done_to_mails_and_webhooks_is_told_as_it_is_listed(
    run: Run, document: Any, inside: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_WEBHOOKS__ALLOWED_NETWORKS", HERE)
    run("migrate")
    run("invite-user", ADA)
    given_up(inside, outbox)
    [mail] = document("outbox")
    assert document("retry-mail", mail["id"]) == document("outbox")[0]
    assert document("outbox")[0]["status"] == "due"
    with receiver() as met:
        webhook = document("create-webhook", met.url)["id"]
        assert document("change-webhook", webhook, "--event", "user.deleted") == document("webhooks")[0]
        run("change-webhook", webhook, "--all-events")
        reachable(inside)
        assert document("test-webhook", webhook) == {"id": webhook, "accepted": "204"}
        run("invite-user", ROOT)
        given_up(inside, webhook_deliveries)
        [delivery] = document("webhook-deliveries")
        assert document("retry-delivery", delivery["id"]) == document("webhook-deliveries")[0]
        deleted = document("delete-webhook", webhook, "--yes")
        assert (deleted["id"], deleted["dropped"]) == (webhook, 1)


def given_up(core: Core, table: Any) -> None:
    with core.write() as tx:
        tx.connection.execute(update(table).values(status="dead"))


def test_what_is_done_to_keys_and_found_in_the_settings_is_told(
    run: Run, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("migrate")
    kid = document("keys")[0]["kid"]
    retired = document("retire-key", kid, "--yes")
    assert (retired["kid"], retired["state"], retired["sessions"]) == (kid, "refused", 0)
    assert document("rotate-secret", "--yes")["in_file"] is True
    assert document("check-config") == {"valid": True, "file": None, "mistakes": []}
    monkeypatch.setenv("USERSVC_SERVER__PORT", "-1")
    wrong = document("check-config", code=78)
    assert (wrong["valid"], len(wrong["mistakes"])) == (False, 1)


def test_a_refusal_prints_no_document(run: Run) -> None:
    run("migrate")
    for arguments in (["show-user", ADA], ["unlock", str(UUID(int=1))], ["delete-group", "desk", "--yes"]):
        refused = run(*arguments, "--json", code=5)
        assert refused.stdout == ""
        assert refused.stderr.splitlines()[-1].startswith("Error: ")
