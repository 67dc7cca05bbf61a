"""`sessions`, `revoke-sessions` and `reset-password`."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
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
from usersvc.errors import SessionEnded
from usersvc.mail.transports import MemoryTransport
from usersvc.services import keys, passwords, registration
from usersvc.services.authentication import authenticate


@pytest.fixture
def core(run: Run, folder: Path):
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    yield core
    core.close()


def test_sessions_are_listed(run: Run, core: Core) -> None:
    assert json.loads(run("sessions", EMAIL, "--json").stdout) == []
    logged_in(core)
    [found] = json.loads(run("sessions", EMAIL, "--json").stdout)
    assert (found["device"], found["ip"]) == ("pytest", "192.0.2.1")
    assert set(found) == {"id", "device", "ip", "created_at", "last_used_at"}
    assert "192.0.2.1" in run("sessions", EMAIL).stdout


def test_a59_revoking_ends_all_at_once_after_a_question(run: Run, core: Core) -> None:
    pairs = [logged_in(core), logged_in(core)]
    run("revoke-sessions", EMAIL, text="n\n", code=1)
    assert authenticate(core, access_token=pairs[0].access_token, actor=STRANGER)
    assert run("revoke-sessions", EMAIL, "--yes").stdout == f"Ended 2 sessions of {EMAIL}.\n"
    for pair in pairs:
        with pytest.raises(SessionEnded):
            authenticate(core, access_token=pair.access_token, actor=STRANGER)
    [entry] = audit_rows(core, "session.revoked_all")
    assert (entry.actor_kind, entry.detail) == ("operator", {"sessions": 2})


def test_a_reset_link_is_mailed_to_the_owner_and_shown_to_nobody(run: Run, core: Core) -> None:
    shown = run("reset-password", EMAIL).output
    [mail] = delivered(core)
    assert mail["To"].addresses[0].addr_spec == EMAIL
    assert token_in(mail) not in shown
    passwords.reset(core, token=token_in(mail), new_password=OTHER_PASSWORD, actor=STRANGER)
    assert logged_in(core, password=OTHER_PASSWORD)
    assert len(audit_rows(core, "password.reset_mailed")) == 1


def test_a_reset_link_is_printed_when_mail_is_down(run: Run, core: Core) -> None:
    result = run("reset-password", EMAIL, "--print-link")
    assert "whoever has it has the account" in result.stderr
    [token] = re.findall(r"^http://127.0.0.1:8000/reset-password\?token=([\w-]{43})\n$", result.stdout)
    assert delivered(core) == []
    passwords.reset(core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)
    assert logged_in(core, password=OTHER_PASSWORD)
    assert len(audit_rows(core, "password.reset_link_shown")) == 1


def test_an_account_that_is_not_active_has_no_password_to_reset(run: Run, core: Core) -> None:
    registration.register(core, email="bob@example.org", password=PASSWORD, actor=STRANGER)
    for arguments in (["bob@example.org"], ["bob@example.org", "--print-link"]):
        assert "pending" in run("reset-password", *arguments, code=6).stderr
