"""The commands for service accounts; tests/services has the rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.sqlite


@pytest.fixture
def made(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("USERSVC_TOKENS__AUDIENCES", "billing, files")
    run("migrate")
    options = ("--permission", "orders:read", "--permission", "orders:write", "--audience", "billing")
    found: dict[str, Any] = json.loads(run("create-service", "reports", *options, "--json").stdout)
    return found


def _shown(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show-service", "reports", "--json").stdout)
    return found


def test_a_service_is_made_and_its_secret_shown_this_once(run: Run, made: dict[str, Any]) -> None:
    shown = _shown(run)
    assert (shown["id"], shown["permissions"]) == (made["client_id"], ["orders:read", "orders:write"])
    assert shown["credentials"][0]["hint"] == made["client_secret"][-4:]
    for result in (run("show-service", made["client_id"]), run("list-services"), run("audit", "--json")):
        assert made["client_secret"] not in result.output
    assert "orders:read, orders:write" in run("list-services").stdout
    assert json.loads(run("list-services", "--json").stdout) == [shown]
    assert " reports " in run("audit", "--action", "service.created").stdout
    result = run("create-service", "other")
    assert "client_secret  usvc_" in result.stdout
    assert "shown this once" in result.stderr


def test_it_is_changed_rotated_revoked_shut_out_and_let_in(run: Run, made: dict[str, Any]) -> None:
    assert run("change-service", "reports", "--permission", "a:b", "--may-end-sessions").stdout == (
        "reports has a:b and billing now.\n"
    )
    assert run("change-service", "reports", "--no-permissions", "--no-audiences").stdout == (
        "reports has no permissions and no audiences now.\n"
    )
    assert "already" in run("change-service", "reports", "--no-permissions").stdout
    assert _shown(run)["may_end_sessions"] is True
    rotated = json.loads(run("rotate-service", "reports", "--overlap", "0", "--json").stdout)
    assert [each["works"] for each in _shown(run)["credentials"]] == [True, False]
    assert "Abort" in run("revoke-credential", "reports", rotated["id"], text="n\n", code=1).output
    assert "is revoked" in run("revoke-credential", "reports", rotated["id"], "--yes").stdout
    run("revoke-credential", "reports", rotated["id"], "--yes", code=5)
    for command, state in (("deactivate-service", "deactivated"), ("activate-service", "active")):
        assert run(command, "reports").stdout == f"reports is {state} now.\n"
        assert run(command, "REPORTS").stdout == f"reports is {state} already.\n"
    assert "Abort" in run("delete-service", "reports", text="n\n", code=1).output
    assert run("delete-service", "REPORTS", "--yes").stdout == "Deleted reports.\n"
    run("delete-service", "reports", "--yes", code=5)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("create-service", "reports"), 6, "There is a service with this name."),
        (("create-service", "x", "--permission", "users:write"), 3, "reserved"),
        (("create-service", "x", "--audience", "other"), 3, "tokens.audiences"),
        (("create-service", "x", "--expires", "4000"), 2, "less than"),
        (("show-service", "nobody"), 5, "There is no service nobody."),
        (("change-service", "reports"), 2, "nothing to change"),
        (("change-service", "reports", "--no-permissions", "--permission", "a:b"), 2, "contradict"),
        (("revoke-credential", "reports", "x"), 2, "UUID"),
    ],
)
def test_what_is_wrong_is_told_on_one_line(
    run: Run, made: dict[str, Any], command: tuple[str, ...], code: int, said: str
) -> None:
    before = run("list-services", "--json").stdout
    assert said in run(*command, code=code).stderr
    assert run("list-services", "--json").stdout == before
