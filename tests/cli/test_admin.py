"""`set-role`, `activate`, `deactivate`, `invite-user` and `list-users`; tests/services has the rules."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD, active, audit_rows, delivered, invited, pending, user_row
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.errors import InvalidCredentials
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys, login
from usersvc.services.actor import Actor

ROOT = "root@example.org"


@pytest.fixture
def core(run: Run, folder: Path):
    run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    yield core
    core.close()


def _listed(run: Run, *options: str) -> list[str]:
    return [account["email"] for account in json.loads(run("list-users", *options, "--json").stdout)]


def test_a_role_is_given_by_each_name_of_an_account(run: Run, core: Core) -> None:
    account = active(core, username="ada")
    assert run("set-role", "ada", "moderator").stdout == f"{EMAIL} has the role moderator now.\n"
    assert run("set-role", EMAIL, "moderator").stdout == f"{EMAIL} has the role moderator already.\n"
    assert run("set-role", str(account.id), "admin").stdout == f"{EMAIL} has the role admin now.\n"
    assert user_row(core).role == "admin"
    entries = audit_rows(core, "user.role_changed")
    assert [entry.actor_kind for entry in entries] == ["operator", "operator"]


def test_an_account_is_shut_out_and_let_in(run: Run, core: Core) -> None:
    active(core)
    for command, status in (("deactivate", "deactivated"), ("activate", "active")):
        assert run(command, EMAIL).stdout == f"{EMAIL} is {status} now.\n"
        assert user_row(core).status == status
        assert run(command, EMAIL).stdout == f"{EMAIL} is {status} already.\n"


def test_somebody_is_invited(run: Run, core: Core) -> None:
    result = run("invite-user", EMAIL, "--role", "moderator", "--username", "Ada")
    assert result.stdout == f"A worker mails the invitation to {EMAIL} within a minute.\n"
    user = user_row(core)
    assert (user.status, user.role, user.username) == ("invited", "moderator", "ada")
    assert [mail["To"].addresses[0].addr_spec for mail in delivered(core)] == [EMAIL]


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("set-role", ROOT, "user"), 6, "the last active administrator"),
        (("deactivate", ROOT), 6, "the last active administrator"),
        (("set-role", "pending@example.org", "admin"), 6, "This account is pending"),
        (("invite-user", ROOT), 6, "There is an account with this e-mail address."),
        (("invite-user", "no-address"), 3, ""),
        (("invite-user", EMAIL, "--username", "!"), 3, "A username has"),
        (("set-role", "nobody", "user"), 5, "There is no user nobody."),
        (("activate", "nobody"), 5, "There is no user nobody."),
        (("deactivate", "nobody"), 5, "There is no user nobody."),
        (("set-role", ROOT, "root"), 2, ""),
        (("invite-user", EMAIL, "--role", "root"), 2, ""),
        (("list-users", "--limit", "0"), 2, ""),
        (("list-users", "--status", "gone"), 2, ""),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    run: Run, core: Core, command: tuple[str, ...], code: int, told: str
) -> None:
    pending(core, "pending@example.org")
    result = run(*command, code=code)
    assert result.stdout == ""
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    found = [
        (user_row(core, email).role, user_row(core, email).status) for email in (ROOT, "pending@example.org")
    ]
    assert found == [("admin", "active"), ("user", "pending")]
    assert len(_listed(run)) == 2


def test_users_are_listed_the_oldest_first(run: Run, core: Core) -> None:
    invited(core, "bob@example.org", username="bob")
    invited(core, "ada@example.org")
    assert _listed(run) == [ROOT, "bob@example.org", "ada@example.org"]
    header, *rows = run("list-users").stdout.splitlines()
    assert header.split() == ["email", "username", "role", "status", "created_at", "last_login_at"]
    assert [row.split()[0] for row in rows] == _listed(run)
    assert rows[1].split()[1:4] == ["bob", "user", "invited"]


def test_json_has_the_accounts_as_show_user_has_them(run: Run, core: Core) -> None:
    [listed] = json.loads(run("list-users", "--json").stdout)
    shown = json.loads(run("show-user", ROOT, "--json").stdout)
    assert (shown.pop("login_locked"), shown.pop("deletion_due_at")) == (False, None)
    assert shown.pop("must_change_password") is False
    assert shown == {**listed, "profile": {}, "attributes": {}, "groups": []}


def test_a_locked_login_is_shown_and_opened_a_pause_is_neither(
    run: Run, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_THROTTLE__ACCOUNT_LOGIN_ATTEMPTS", "10")
    active(core)

    def shown() -> tuple[str, bool]:
        [line] = [line for line in run("show-user", EMAIL).stdout.splitlines() if "login_locked" in line]
        return line.split()[1], json.loads(run("show-user", EMAIL, "--json").stdout)["login_locked"]

    with closing(build(configuration.load(), transport=MemoryTransport())) as strict:
        keys.open_ring(strict)
        _fail(strict, "192.0.2.1", times=5)
        assert len(audit_rows(core, "user.login_paused")) == 1
        assert shown() == ("no", False)
        assert run("unlock", EMAIL).stdout == (
            f"The login of {EMAIL} is not locked. "
            "A pause of one network after failed logins ends by itself, within 15 minutes.\n"
        )
        assert audit_rows(core, "user.login_unlocked") == []
        _fail(strict, "192.0.2.2", times=5)
    assert shown() == ("yes", True)
    assert run("unlock", EMAIL).stdout == f"The login of {EMAIL} is open now.\n"
    assert shown() == ("no", False)
    [entry] = audit_rows(core, "user.login_unlocked")
    assert entry.detail == {"was_locked": True}


def _fail(core: Core, ip: str, *, times: int) -> None:
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            login.log_in(core, email=EMAIL, password="wrong", actor=Actor("anonymous", ip=ip))


def test_users_are_searched_and_filtered(run: Run, core: Core) -> None:
    invited(core, "bob@example.org", role="admin")
    invited(core, "ada@example.org", username="bobby")
    assert _listed(run, "--query", "BOB") == ["bob@example.org", "ada@example.org"]
    assert _listed(run, "--role", "admin") == [ROOT, "bob@example.org"]
    assert _listed(run, "--status", "invited", "--role", "user") == ["ada@example.org"]


def test_an_empty_list_is_an_empty_one(run: Run, core: Core) -> None:
    assert run("list-users", "--query", "nobody", "--json").stdout == "[]\n"
    assert run("list-users", "--query", "nobody").stdout.split()[-1] == "last_login_at"


def test_a_limit_says_that_there_are_more(run: Run, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usersvc.services.directory.MOST", 2)
    for number in range(4):
        invited(core, f"u{number}@example.org")
    more = "There are more: take --all, or another --limit."
    for options, count, cut in (
        (["--limit", "3"], 3, True),
        (["--limit", "5"], 5, False),
        (["--limit", "6"], 5, False),
        (["--all"], 5, False),
        (["--all", "--limit", "1"], 5, False),
    ):
        for form in (["--json"], []):
            result = run("list-users", *options, *form)
            assert (more in result.stderr) is cut
            rows = json.loads(result.stdout) if form else result.stdout.splitlines()[1:]
            assert len(rows) == count


@pytest.mark.parametrize(
    "command",
    [
        ("list-users",),
        ("activate", EMAIL),
        ("deactivate", EMAIL),
        ("set-role", EMAIL, "user"),
        ("invite-user", EMAIL),
    ],
)
def test_without_a_database_none_is_made(run: Run, folder: Path, command: tuple[str, ...]) -> None:
    assert "Error: " in run(*command, code=8).stderr
    assert not (folder / "data").exists()
