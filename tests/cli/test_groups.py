"""`create-group` to `remove-member`; tests/services/test_groups.py and test_memberships.py have the rules."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD, active, audit_rows, invited, pending
from tests.groups import granted
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys

ROOT = "root@example.org"


@pytest.fixture
def core(run: Run, folder: Path):
    run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    with closing(build(configuration.load(), transport=MemoryTransport())) as core:
        keys.open_ring(core)
        yield core


def shown(run: Run, *arguments: str):
    return json.loads(run(*arguments, "--json").stdout)


def test_a_group_from_its_making_to_its_end(run: Run, core: Core) -> None:
    active(core, username="ada")
    permits = ["--permission", "orders:write", "--permission", "orders:read"]
    made = run("create-group", "desk", "--description", "By telephone", *permits)
    assert made.stdout == "desk permits orders:read, orders:write.\n"
    assert run("create-group", "empty").stdout == "empty permits nothing.\n"
    assert run("add-member", "desk", "ada").stdout == f"{EMAIL} is a member of desk now.\n"
    assert granted(core) == (["desk"], ["orders:read", "orders:write"])
    assert run("add-member", "desk", ROOT, "--manager").stdout == f"{ROOT} manages desk now.\n"

    [desk, empty] = shown(run, "list-groups")
    assert (desk["name"], desk["permissions"], desk["members"]) == (
        "desk",
        ["orders:read", "orders:write"],
        2,
    )
    assert (empty["name"], empty["members"]) == ("empty", 0)
    header, *rows = run("list-groups").stdout.splitlines()
    assert header.split() == ["name", "description", "permissions", "members"]
    assert rows[0].split() == ["desk", "By", "telephone", "orders:read,", "orders:write", "2"]

    one = shown(run, "show-group", "desk")
    members = one.pop("member_accounts")
    assert one == desk
    assert [(member["email"], member["manager"]) for member in members] == [(ROOT, True), (EMAIL, False)]
    table = run("show-group", "desk").stdout
    assert "orders:read, orders:write" in table
    assert [line.split()[0] for line in table.splitlines() if "@" in line] == [ROOT, EMAIL]
    assert shown(run, "show-user", "ada")["groups"] == ["desk"]
    assert re.search(r"^groups +desk ", run("show-user", "ada").stdout, re.MULTILINE)

    changed = run(
        "change-group", "desk", "--rename", "counter", "--grant", "a:b", "--withdraw", "orders:read"
    )
    assert changed.stdout == "counter permits a:b, orders:write.\n"
    absent = run("change-group", "counter", "--withdraw", "orders:raed")
    assert "counter did not have orders:raed.\n" in absent.stderr
    assert granted(core) == (["counter"], ["a:b", "orders:write"])
    assert run("remove-member", "counter", "ada").stdout == f"{EMAIL} is out of counter.\n"
    assert run("remove-member", "counter", "ada").stdout == f"{EMAIL} was not in counter.\n"
    assert granted(core) == ([], [])

    assert "1 member" in run("delete-group", "counter", text="n\n", code=1).output
    assert run("delete-group", "counter", "--yes").stdout == "Deleted counter, which had 1 member.\n"
    assert [group["name"] for group in shown(run, "list-groups")] == ["empty"]
    assert {entry.actor_kind for entry in audit_rows(core, "group.member_added")} == {"operator"}


@pytest.mark.sqlite
def test_that_there_are_more_members_than_are_shown_is_said(
    run: Run, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usersvc.cli.groups._FIRST", 2)
    run("create-group", "desk")
    for number in range(3):
        invited(core, f"person{number}@example.org")
        run("add-member", "desk", f"person{number}@example.org")
    few = run("show-group", "desk", "--json")
    assert len(json.loads(few.stdout)["member_accounts"]) == 2
    assert "There are more members: take --all." in few.stderr
    everybody = run("show-group", "desk", "--all", "--json")
    assert len(json.loads(everybody.stdout)["member_accounts"]) == 3
    assert "more members" not in everybody.stderr


@pytest.mark.sqlite
def test_what_cannot_be_done_changes_nothing(run: Run, core: Core) -> None:
    pending(core, "pending@example.org")
    run("create-group", "desk", "--permission", "orders:read")
    before = shown(run, "list-groups")
    for command, code, told in [
        (("create-group", "desk"), 6, "There is a group with this name."),
        (("create-group", "Desk"), 3, "A group's name has"),
        (("create-group", "new", "--permission", "orders"), 3, "A permission is two words"),
        (("create-group", "new", "--permission", "users:write"), 3, "users:write is reserved"),
        (("change-group", "desk"), 2, "Say what to change"),
        (("change-group", "desk", "--grant", "content:manage"), 3, "reserved"),
        (("change-group", "nothing", "--rename", "x"), 5, "There is no group nothing."),
        (("show-group", "nothing"), 5, "There is no group nothing."),
        (("delete-group", "nothing", "--yes"), 5, "There is no group nothing."),
        (("add-member", "desk", "nobody"), 5, "There is no user nobody."),
        (("add-member", "desk", "pending@example.org"), 6, "This account is pending"),
        (("remove-member", "desk", "nobody"), 5, "There is no user nobody."),
    ]:
        result = run(*command, code=code)
        assert result.stdout == "", command
        assert told in result.stderr, command
        assert "Traceback" not in result.stderr
    assert shown(run, "list-groups") == before
