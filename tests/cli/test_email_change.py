"""Addresses and passwords that an operator changes, as commands."""

import json

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD

pytestmark = pytest.mark.sqlite


def test_an_operator_changes_an_address_and_sets_a_password(run: Run) -> None:
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    asked = run("change-email", EMAIL, "ada@example.net").stdout
    assert asked.strip().endswith("ada@example.org stays until it is opened.")
    changed = run("change-email", EMAIL, "Ada@example.net", "--verified").stdout
    assert changed == "ada@example.org is Ada@example.net now, and logged out everywhere.\n"
    assert run("change-email", "ada@example.net", "no address", code=3).stderr.count("Error: ") == 1
    assert "already" in run("change-email", "ada@example.net", "ADA@example.net", code=6).stderr
    waiting = json.loads(run("outbox", "--json").stdout)
    assert sorted(mail["kind"] for mail in waiting) == ["email_change", "email_changed"]

    weak = run("set-password", "ada@example.net", "--password-stdin", text="short\n", code=3)
    assert "too short" in weak.stderr
    done = run("set-password", "ada@example.net", "--password-stdin", text=f"{OTHER_PASSWORD}\n").stdout
    assert done == "The password of Ada@example.net is set. It opens no session before it is replaced.\n"
    assert OTHER_PASSWORD not in done
    assert json.loads(run("show-user", "ada@example.net", "--json").stdout)["must_change_password"] is True
    run("set-password", "ada@example.net", "--password-stdin", "--no-must-change", text=f"{PASSWORD}\n")
    assert json.loads(run("show-user", "ada@example.net", "--json").stdout)["must_change_password"] is False
    assert "There is no terminal" in run("set-password", "ada@example.net", code=2).stderr
