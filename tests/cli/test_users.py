"""`create-admin`; its prompt is tried on a real terminal in test_terminal.py."""

import json
import re
import uuid
from pathlib import Path

from tests.cli.conftest import Run
from tests.database import rows
from tests.factories import (
    EMAIL,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    audit_rows,
    delivered,
    logged_in,
    token_in,
)
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys, registration


def _core(folder: Path):
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    return core


def _users(core: Core) -> list[tuple]:
    return [tuple(row) for row in rows(core, "SELECT email, role, status, username FROM users")]


def test_the_first_command_makes_the_database_and_an_administrator(
    run: Run, folder: Path, inside: Core, address: str
) -> None:
    result = run("create-admin", EMAIL, "--username", "Root", "--password-stdin", text=f"{PASSWORD}\n")
    assert result.stdout == f"{EMAIL} is now an administrator.\n"
    assert result.stderr == f"Database: {address}\nThere was none: made a new one.\n"
    assert _users(inside) == [(EMAIL, "admin", "active", "root")]
    core = _core(folder)
    assert logged_in(core)
    core.close()


def test_a_weak_password_is_refused_as_everywhere_and_makes_nobody(run: Run, inside: Core) -> None:
    for password in ("", "short", "password1234", EMAIL):
        result = run("create-admin", EMAIL, "--password-stdin", text=f"{password}\n", code=3)
        assert result.stderr.splitlines()[-1].startswith("Error: This ")
        assert "Traceback" not in result.output
    assert _users(inside) == []


def test_without_a_terminal_the_password_is_not_asked_for(run: Run, inside: Core) -> None:
    assert "--password-stdin" in run("create-admin", EMAIL, text=f"{PASSWORD}\n", code=2).stderr
    assert _users(inside) == []


def test_a_password_can_be_given_in_no_argument(run: Run) -> None:
    run("create-admin", EMAIL, "--password", PASSWORD, code=2)


def test_an_existing_account_is_promoted_after_a_question_and_keeps_its_password(
    run: Run, folder: Path, inside: Core
) -> None:
    run("migrate")
    core = _core(folder)
    _register(core, activate=True)
    assert (
        "Make ada@example.org (active) an administrator?"
        in run("create-admin", EMAIL, text="n\n", code=1).output
    )
    assert _users(inside) == [(EMAIL, "user", "active", None)]
    run("create-admin", EMAIL, text="y\n")
    assert _users(inside) == [(EMAIL, "admin", "active", None)]
    assert logged_in(core)
    assert "already" in run("create-admin", EMAIL).stdout
    core.close()


def test_a02e_what_a_stranger_left_under_the_address_is_void(run: Run, folder: Path, inside: Core) -> None:
    run("migrate")
    core = _core(folder)
    _register(core, activate=False)
    run("create-admin", EMAIL, "--yes", "--password-stdin", text=f"{OTHER_PASSWORD}\n")
    assert _users(inside) == [(EMAIL, "admin", "active", None)]
    assert logged_in(core, password=OTHER_PASSWORD)
    assert rows(core, "SELECT id FROM link_tokens WHERE revoked_at IS NULL") == []
    core.close()


def test_a_wrong_address_or_username_is_told(run: Run) -> None:
    assert "Error: " in run("create-admin", "no-address", "--password-stdin", text=PASSWORD, code=3).stderr
    run("create-admin", EMAIL, "--username", "!", "--password-stdin", text=PASSWORD, code=3)


def test_the_operator_in_the_audit_is_the_system_user_whatever_the_environment_says(
    run: Run, inside: Core
) -> None:
    forged = {"USER": "mallory", "LOGNAME": "mallory", "SUDO_USER": "mallory"}
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n", env=forged)
    [entry] = audit_rows(inside, "user.created")
    kind, name = entry.actor_kind, entry.actor_name
    assert kind == "operator"
    assert name
    assert "mallory" not in name


def _register(core, *, activate: bool) -> None:
    registration.register(
        core, email=EMAIL, password=PASSWORD, username="ada" if not activate else None, actor=STRANGER
    )
    if activate:
        registration.activate(core, token=token_in(delivered(core)[0]), actor=STRANGER)


def test_an_existing_account_keeps_its_password_and_username_and_says_so(run: Run, folder: Path) -> None:
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    for option in (["--password-stdin"], ["--username", "root"]):
        result = run("create-admin", EMAIL, "--yes", *option, text=f"{OTHER_PASSWORD}\n", code=2)
        assert "keeps its password" in result.stderr
    core = _core(folder)
    assert logged_in(core)
    core.close()


def test_the_line_with_the_password_is_not_taken_for_an_answer(run: Run, folder: Path, inside: Core) -> None:
    run("migrate")
    core = _core(folder)
    _register(core, activate=False)
    result = run("create-admin", EMAIL, "--password-stdin", text=f"{OTHER_PASSWORD}\n", code=2)
    assert "--yes" in result.stderr
    assert _users(inside) == [(EMAIL, "user", "pending", "ada")]
    core.close()


def test_an_account_is_shown_by_each_of_its_names(run: Run) -> None:
    run("create-admin", EMAIL, "--username", "ada", "--password-stdin", text=f"{PASSWORD}\n")
    by_email = json.loads(run("show-user", "ADA@example.org", "--json").stdout)
    assert (by_email["email"], by_email["role"], by_email["is_admin"]) == (EMAIL, "admin", True)
    assert by_email["created_at"].endswith("Z")
    assert by_email.pop("must_change_password") is False
    assert "password" not in str(by_email)
    for name in ("Ada", by_email["id"]):
        shown = json.loads(run("show-user", name, "--json").stdout)
        assert shown == {**by_email, "must_change_password": False}
    table = run("show-user", "ada").stdout
    assert EMAIL in table
    assert re.search(r"created_at +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", table)


def test_who_does_not_exist_is_not_found(run: Run) -> None:
    run("migrate")
    for name in ("nobody@example.org", "nobody", str(uuid.uuid4()), "no address@", ""):
        for command in ("show-user", "sessions", "revoke-sessions", "reset-password"):
            assert run(command, name, code=5).stderr.splitlines()[-1] == f"Error: There is no user {name}."
