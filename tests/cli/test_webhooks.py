"""Webhooks from the shell, with a receiver on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.conftest import Run
from tests.factories import OPERATOR, audit_rows
from tests.hooks import reachable, tell
from tests.receivers import HERE, Receiver, receiver
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.services import keys, webhook_delivery, webhooks

# What commands show and refuse is the same on every database.
pytestmark = pytest.mark.sqlite

NOBODY = str(UUID(int=7))


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("USERSVC_WEBHOOKS__ALLOWED_NETWORKS", HERE)
    with receiver() as met:
        yield met


@pytest.fixture
def core(run: Run, folder: Path) -> Iterator[Core]:
    run("migrate")
    core = reachable(build(configuration.load()))
    keys.open_ring(core)
    yield core
    core.close()


def test_a_webhook_from_its_making_to_its_end(run: Run, core: Core, met: Receiver) -> None:
    made = json.loads(
        run("create-webhook", met.url, "--event", "user.deleted", "--description", "Ours", "--json").stdout
    )
    webhook_id = made["id"]
    assert run("test-webhook", webhook_id).stdout == "Accepted: 204\n"
    assert met.received[0].verified_by(made["secret"])["type"] == "webhook.test"
    [shown] = json.loads(run("webhooks", "--json").stdout)
    assert (shown["url"], shown["events"], shown["enabled"], shown["waiting"]) == (
        met.url,
        ["user.deleted"],
        True,
        0,
    )
    table = run("webhooks").stdout.splitlines()
    assert table[0].split() == ["id", "url", "events", "enabled", "waiting", "waiting_since", "description"]
    assert table[1].split() == [webhook_id, met.url, "user.deleted", "yes", "0", "Ours"]

    run("change-webhook", webhook_id, "--all-events", "--description", "")
    [shown] = json.loads(run("webhooks", "--json").stdout)
    assert (shown["events"], shown["description"]) == ([], "")
    secret = run("rotate-webhook-secret", webhook_id).stdout.split("Secret:  ")[1].strip()
    assert secret.startswith("whsec_")
    assert secret != made["secret"]

    tell(core, times=2)
    met.answer(500)
    webhook_delivery.deliver_due(core, owner="test")
    [row, _] = sorted(
        json.loads(run("webhook-deliveries", "--json").stdout), key=lambda one: -one["attempts"]
    )
    assert (row["webhook"], row["event"], row["status"], row["outcome"]) == (
        webhook_id,
        "user.activated",
        "due",
        "500",
    )
    assert row["id"] in run("webhook-deliveries", "--status", "due", "--webhook", webhook_id).stdout
    assert json.loads(run("webhook-deliveries", "--webhook", NOBODY, "--json").stdout) == []
    with core.write() as tx:
        tx.connection.exec_driver_sql("UPDATE webhook_deliveries SET status = 'dead'")
    assert "within a minute" in run("retry-delivery", row["id"]).stdout
    assert "was not given up" in run("retry-delivery", row["id"], code=6).stderr

    run("change-webhook", webhook_id, "--disable")
    assert run("delete-webhook", webhook_id, "--yes").stdout == "Deleted.\n"
    assert json.loads(run("webhooks", "--json").stdout) == []
    assert [entry.actor_kind for entry in audit_rows(core, "webhook.deleted")] == ["operator"]


def test_what_cannot_be_done_is_one_line_and_changes_nothing(run: Run, core: Core, met: Receiver) -> None:
    made = webhooks.create(core, url=met.url, actor=OPERATOR)
    met.answer(503)
    assert run("test-webhook", str(made.id), code=8).stderr.splitlines()[1:] == [
        "Error: The receiver did not accept it: 503"
    ]
    for command in ("rotate-webhook-secret", "test-webhook"):
        assert "Error: There is no such webhook." in run(command, NOBODY, code=5).stderr
    assert "no such webhook" in run("delete-webhook", NOBODY, "--yes", code=5).stderr
    assert "no such delivery" in run("retry-delivery", NOBODY, code=5).stderr
    assert "https" in run("create-webhook", "ftp://receiver.example/", code=3).stderr
    assert "not public" in run("create-webhook", "https://10.0.0.1/", code=3).stderr
    assert "add --yes" in run("delete-webhook", str(made.id), code=2).stderr
    assert "what to change" in run("change-webhook", str(made.id), code=2).stderr
    run("change-webhook", str(made.id), "--event", "user.deleted", "--all-events", code=2)
    run("create-webhook", met.url, "--event", "user.born", code=2)
    assert [one.id for one in webhooks.list_webhooks(core, actor=OPERATOR)] == [made.id]
