"""Everything that a mail server does wrong, one mail after the other, to a real worker; then it is well."""

import contextlib
import email
import email.policy
import socket
import sqlite3
import ssl
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.factories import PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually, free_port
from tests.smtp import ca_file, certificate, raw_server, read_until, until_it_hangs_up

pytestmark = pytest.mark.process

# What becomes of the mail, after how many tries that count, and why. As in docs/operations.md.
BECOMES = {
    "nobody listens": ("due", 1, "Connection refused"),
    "says nothing": ("due", 1, "within 10 s"),
    "421 to the connection": ("due", 1, "421"),
    "no STARTTLS": ("due", 1, "STARTTLS extension not supported"),
    "another's certificate": ("due", 1, "CERTIFICATE_VERIFY_FAILED"),
    "550 to the sender": ("due", 1, "550"),
    "451 to the recipient, greylisted": ("due", 1, "451"),
    "550 to the recipient": ("failed", 1, "550"),
    "452 to the content": ("due", 1, "452"),
    "554 to the content": ("failed", 1, "554"),
    "hangs up after the dot": ("due", 1, "NotSent"),
    # The last one: no other mail is tried for a minute.
    "535 to the login": ("due", 0, "535"),
}
LOGIN = ("mailer", "right horse battery")
_REFUSALS = {"login": b"AUTH", "sender": b"MAIL", "recipient": b"RCPT", "content": b"."}
_STEPS = {
    b"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n",
    b"AUTH": b"235 welcome\r\n",
    b"MAIL": b"250 ok\r\n",
    b"RCPT": b"250 ok\r\n",
    b"DATA": b"354 go on\r\n",
    b".": b"250 taken\r\n",
    b"QUIT": b"221 bye\r\n",
}


class Sick:
    """A mail server with another fault in each conversation, and none when all were had."""

    def __init__(self, faults: list[str], *, right: ssl.SSLContext, wrong: ssl.SSLContext) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()
        """By recipient and Message-ID."""
        self.heard_in_the_clear: list[bytes] = []
        self._faults = list(faults)
        self._right, self._wrong = right, wrong

    def talk(self, connection: socket.socket) -> None:
        fault = self._faults.pop(0) if self._faults else ""
        if fault == "says nothing":
            until_it_hangs_up(connection)
            return
        connection.sendall(b"421 busy\r\n" if fault.startswith("421") else b"220 ready\r\n")
        read_until(connection, b"EHLO")
        connection.sendall(b"250 here\r\n" if fault == "no STARTTLS" else b"250-here\r\n250 STARTTLS\r\n")
        self.heard_in_the_clear.append(said := connection.recv(4096))
        if said == b"QUIT\r\n":
            connection.sendall(_STEPS[b"QUIT"])
        if said == b"STARTTLS\r\n":
            connection.sendall(b"220 go on\r\n")
            shown = self._wrong if fault == "another's certificate" else self._right
            with shown.wrap_socket(connection, server_side=True) as secured:
                self._talk_in_private(secured, fault)

    def _talk_in_private(self, connection: ssl.SSLSocket, fault: str) -> None:
        code, _, what = fault.partition(" to the ")
        refused_at = _REFUSALS.get(what.partition(",")[0])
        for step, answer in _STEPS.items():
            heard = read_until(connection, step)
            if step == refused_at:
                connection.sendall(f"{code} no\r\n".encode())
                read_until(connection, b"QUIT")
                connection.sendall(_STEPS[b"QUIT"])
                return
            if step == b".":
                mail = email.message_from_bytes(heard, policy=email.policy.default)
                self.taken[str(mail["To"]), str(mail["Message-ID"])] += 1
                if fault == "hangs up after the dot":
                    return
            connection.sendall(answer)


@pytest.fixture
def usersvc(tmp_path: Path) -> Usersvc:
    usersvc = Usersvc(tmp_path)
    usersvc.environ |= {
        "USERSVC_THROTTLE__ENABLED": "false",
        "USERSVC_MAIL__TRANSPORT": "smtp",
        "USERSVC_MAIL__FROM_ADDRESS": "no-reply@example.org",
        "USERSVC_MAIL__SMTP_HOST": "localhost",
        "USERSVC_MAIL__SMTP_PORT": str(free_port()),
        "USERSVC_MAIL__SMTP_USERNAME": LOGIN[0],
        "USERSVC_MAIL__SMTP_PASSWORD": LOGIN[1],
        "USERSVC_MAIL__SMTP_CA_FILE": "ca.pem",
    }
    return usersvc


def _rows(usersvc: Usersvc, sql: str, *values: str) -> list[tuple[Any, ...]]:
    """Beside the running processes."""
    with (
        contextlib.closing(sqlite3.connect(usersvc.database, timeout=PATIENCE_SECONDS)) as database,
        database,
    ):
        return database.execute(sql, values).fetchall()


def _register(usersvc: Usersvc, fault: str) -> str:
    address = f"met-{list(BECOMES).index(fault)}@example.org"
    assert usersvc.post("/users", {"email": address, "password": PASSWORD}).status_code == 202
    return address


def _was_tried(usersvc: Usersvc, address: str) -> bool:
    tries = "SELECT count(*) FROM outbox WHERE address = ? AND last_error IS NOT NULL"
    return _rows(usersvc, tries, address) == [(1,)]


def test_r06_r07_r08_r09_a_mail_ends_as_its_fault_says_and_all_arrive_once_the_server_is_well(
    usersvc: Usersvc, tmp_path: Path
) -> None:
    authority = trustme.CA()
    ca_file(authority, tmp_path)
    right, wrong = certificate(authority, "localhost"), certificate(authority, "mail.example.org")
    first, *others = BECOMES
    server = Sick(others, right=right, wrong=wrong)
    port = int(usersvc.environ["USERSVC_MAIL__SMTP_PORT"])
    with usersvc.serving("--no-worker") as serving, contextlib.ExitStack() as listening:
        with usersvc.running("worker") as worker:
            addresses = [_register(usersvc, first)]
            worker.wait_until(lambda: "mail not sent" in worker.output, "nobody listens")
            # Not again before the others.
            _rows(usersvc, "UPDATE outbox SET next_attempt_at = '2999-01-01 00:00:00.000000'")
            listening.enter_context(raw_server(server.talk, port=port))
            for fault in others:
                # One by one: the worker may talk to it twice at once, and it cannot tell who begins.
                addresses.append(address := _register(usersvc, fault))
                worker.wait_until(partial(_was_tried, usersvc, address), f"{fault} is had")
            assert worker.stop() == 0
            assert "Traceback" not in worker.output
        mails = _rows(usersvc, "SELECT address, status, attempts, last_error FROM outbox ORDER BY created_at")
        assert [address for address, *_ in mails] == addresses
        for (_, *became, error), (fault, (*expected, reason)) in zip(mails, BECOMES.items(), strict=True):
            assert became == expected, fault
            assert reason in error, fault
        for (mail_id,) in _rows(usersvc, "SELECT id FROM outbox WHERE status = 'failed'"):
            usersvc.run("retry-mail", mail_id)
        # The pauses are over.
        _rows(usersvc, "UPDATE outbox SET next_attempt_at = created_at")
        with usersvc.running("worker"):
            eventually(lambda: _rows(usersvc, "SELECT DISTINCT status FROM outbox") == [("sent",)])
        assert serving.stop() == 0
    # The one that was taken without a word went out again, under the same Message-ID.
    assert {address: times for (address, _), times in server.taken.items() if times > 1} == {
        addresses[list(BECOMES).index("hangs up after the dot")]: 2
    }
    assert len(server.taken) == len(BECOMES)
    assert set(server.heard_in_the_clear) <= {b"STARTTLS\r\n", b"QUIT\r\n", b""}
