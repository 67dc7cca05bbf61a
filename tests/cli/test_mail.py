"""`send-test-mail`, in real conversations with a mail server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, audit_rows, outbox_rows
from tests.smtp import MailServer, mail_server
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.services import keys

LOGIN = ("mailer", "right horse battery")


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with mail_server(login=LOGIN) as server:
        for name, value in {
            "TRANSPORT": "smtp",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": server.port,
            "SMTP_SECURITY": "none",
            "SMTP_USERNAME": LOGIN[0],
            "SMTP_PASSWORD": LOGIN[1],
            "FROM_ADDRESS": "Example <no-reply@example.org>",
        }.items():
            monkeypatch.setenv(f"USERSVC_MAIL__{name}", str(value))
        yield server


@pytest.fixture
def core(run: Run, folder: Path) -> Iterator[Core]:
    run("migrate")
    core = build(configuration.load())
    keys.open_ring(core)
    yield core
    core.close()


def test_a_test_mail_goes_straight_to_the_server_and_the_command_says_where(
    server: MailServer, core: Core, run: Run
) -> None:
    shown = run("send-test-mail", EMAIL)
    assert shown.stdout == f"Sent to {EMAIL}: 127.0.0.1:{server.port}\n"
    [mail] = server.received
    assert mail.recipients == [EMAIL]
    assert mail.message["Subject"] == "Test mail from 127.0.0.1:8000"
    assert outbox_rows(core) == []
    [entry] = audit_rows(core, "mail.tested")
    assert (entry.actor_kind, entry.outcome) == ("operator", "ok")
    assert entry.detail == {"to": "a***@example.org", "via": f"127.0.0.1:{server.port}"}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"AUTH": "535 5.7.8 wrong password"}, "AUTH was answered with 535 5.7.8 wrong password"),
        ({"RCPT": "550 5.1.1 no such user"}, "RCPT TO was answered with 550 5.1.1 no such user"),
        ({"RCPT": "450 4.2.0 greylisted"}, "RCPT TO was answered with 450 4.2.0 greylisted"),
    ],
)
def test_what_the_server_says_against_it_is_told_in_one_line(
    server: MailServer, core: Core, run: Run, answers: dict[str, str], said: str
) -> None:
    server.answers |= answers
    shown = run("send-test-mail", EMAIL, code=8)
    assert shown.stdout == ""
    [_database, line] = shown.stderr.splitlines()
    assert line == f"Error: The mail could not be sent: {said}"
    [entry] = audit_rows(core, "mail.tested")
    assert (entry.actor_kind, entry.outcome) == ("operator", "MAIL_NOT_SENT")
    assert entry.detail == {"to": "a***@example.org", "error": said}


def test_a_server_that_is_not_there_is_told(
    core: Core, run: Run, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERSVC_MAIL__SMTP_HOST", "mail.invalid")
    monkeypatch.setenv("USERSVC_MAIL__SMTP_SECURITY", "starttls")
    assert "mail.invalid" in run("send-test-mail", EMAIL, code=8).stderr


def test_an_address_that_is_none_is_refused_before_anything_is_sent(
    server: MailServer, core: Core, run: Run
) -> None:
    for address in ("nobody", "a@example.org, b@example.org", "a@localhost"):
        assert "Error: " in run("send-test-mail", address, code=3).stderr
    assert server.commands == []
    assert audit_rows(core, "mail.tested") == []


@pytest.mark.usefixtures("core")
def test_a_broken_template_is_told_and_the_built_in_one_sent(
    server: MailServer,
    run: Run,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "templates").mkdir(mode=0o755)
    (folder / "templates" / "test.txt").write_text("Test\n\n{{ nothing }}\n")
    monkeypatch.setenv("USERSVC_MAIL__TEMPLATES_DIR", "templates")
    run("send-test-mail", EMAIL)
    assert "'nothing' is undefined" in caplog.text
    assert "DATA" in server.commands


def test_other_transports_can_be_tried_too(core: Core, run: Run, folder: Path) -> None:
    where = run("send-test-mail", EMAIL).stdout.removeprefix(f"Sent to {EMAIL}: ").strip()
    assert Path(where).parent == folder / "data" / "mail"
    assert b"\nTo: ada@example.org\n" in Path(where).read_bytes()


def test_without_a_database_nothing_is_sent(server: MailServer, run: Run) -> None:
    run("send-test-mail", EMAIL, code=8)
    assert server.commands == []
