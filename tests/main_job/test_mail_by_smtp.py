"""Mail through a real mail server: STARTTLS, a login, and a person who opens the link."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from tests.factories import EMAIL, PASSWORD, token_in
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually
from tests.smtp import MailServer, ca_file, certificate, mail_server

LOGIN = ("mailer", "right horse battery")

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    authority = trustme.CA()
    ca_file(authority, tmp_path)
    with mail_server(starttls=certificate(authority, "localhost"), login=LOGIN) as server:
        yield server


@pytest.fixture
def usersvc(tmp_path: Path, server: MailServer) -> Usersvc:
    """The settings in the file, the password in a variable, as docs/operations.md says."""
    usersvc = Usersvc(tmp_path)
    settings = tmp_path / "usersvc.toml"
    settings.write_text(
        '[mail]\ntransport = "smtp"\nfrom_address = "Example <no-reply@example.org>"\n'
        f'smtp_host = "localhost"\nsmtp_port = {server.port}\n'
        f'smtp_username = "{LOGIN[0]}"\nsmtp_ca_file = "ca.pem"\n'
    )
    settings.chmod(0o600)
    usersvc.environ["USERSVC_MAIL__SMTP_PASSWORD"] = LOGIN[1]
    return usersvc


def rows(usersvc: Usersvc, sql: str) -> list[tuple[object, ...]]:
    """Look into the database beside the running processes."""
    with closing(sqlite3.connect(usersvc.database, timeout=PATIENCE_SECONDS)) as database, database:
        return database.execute(sql).fetchall()


def test_a_registration_is_activated_by_the_link_that_came_over_starttls(
    usersvc: Usersvc, server: MailServer
) -> None:
    with usersvc.serving() as running:
        assert f"by SMTP to localhost, port {server.port} (starttls)" in running.output
        assert usersvc.post("/users", {"email": EMAIL, "password": PASSWORD}).status_code == 202
        [mail] = eventually(lambda: server.received)
        assert (mail.over_tls, mail.sender, mail.recipients) == (True, "no-reply@example.org", [EMAIL])
        token = token_in(mail.message)
        assert usersvc.post("/auth/activate", {"token": token}).status_code == 200
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).status_code == 200
        assert running.stop() == 0
    assert rows(usersvc, "SELECT status, attempts FROM outbox") == [("sent", 1)]
    for hidden in (EMAIL, LOGIN[1], token):
        assert hidden not in running.output
    assert f"Sent to {EMAIL}: localhost:{server.port}" in usersvc.run("send-test-mail", EMAIL).stdout
    assert len(server.received) == 2


def test_a_worker_with_a_wrong_password_says_so_and_the_mail_goes_out_once_it_is_mended(
    usersvc: Usersvc, server: MailServer
) -> None:
    usersvc.environ["USERSVC_MAIL__SMTP_PASSWORD"] = "a wrong horse"
    with usersvc.serving("--no-worker"):
        usersvc.post("/users", {"email": EMAIL, "password": PASSWORD})
        with usersvc.running("worker") as worker:
            worker.wait_until(lambda: "refused the login" in worker.output, "the worker complains")
            assert '"level": "error"' in worker.output
            assert "a wrong horse" not in worker.output
            assert worker.stop() == 0
        assert rows(usersvc, "SELECT status, attempts FROM outbox") == [("due", 0)]
        # The minute has passed.
        rows(usersvc, "UPDATE outbox SET next_attempt_at = created_at")
        usersvc.environ["USERSVC_MAIL__SMTP_PASSWORD"] = LOGIN[1]
        with usersvc.running("worker"):
            eventually(lambda: server.received)
            eventually(lambda: rows(usersvc, "SELECT status, attempts FROM outbox") == [("sent", 1)])
