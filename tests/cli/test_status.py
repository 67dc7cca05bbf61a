"""`status`: looked at live, once, piped, as JSON."""

import io
import json
import re
import socket
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from tests.cli.conftest import Run
from tests.factories import EMAIL
from tests.processes import PATIENCE_SECONDS, USERSVC, Usersvc
from tests.reference.picture import SERVING, STATUS
from usersvc import configuration
from usersvc.cli.scraping import scrape
from usersvc.cli.status_view import panels, table_rows

pytestmark = pytest.mark.sqlite


def test_where_it_is_piped_each_figure_has_a_line(run: Run) -> None:
    run("migrate")
    run("invite-user", EMAIL)
    lines = [" ".join(line.split()) for line in run("status").stdout.splitlines()]
    assert lines[0] == "of what value"
    assert {"users invited 1", "processes API not reachable", "activity logins, last hour 0"} <= set(lines)
    assert len(run("status", "--once").stdout.splitlines()) == len(lines)


def test_json_is_one_document(run: Run) -> None:
    run("migrate")
    found = json.loads(run("status", "--json").stdout)
    assert list(found) == [
        "at",
        "counted_to",
        "users",
        "sessions",
        "activity",
        "mails",
        "deliveries",
        "worker_seen_at",
        "next_rotation_at",
        "database",
        "api",
    ]
    assert found["api"] is None
    assert (found["database"]["kind"], found["database"]["schema"]) == ("SQLite", "current")


@pytest.mark.parametrize(("width", "most_lines"), [(80, 24), (119, 24), (120, 17), (200, 17)])
def test_it_fits_on_one_screen(width: int, most_lines: int) -> None:
    out = Console(width=width, record=True, file=io.StringIO())
    out.print(panels(STATUS, SERVING, width=width))
    lines = out.export_text().splitlines()
    assert len(lines) <= most_lines
    assert all(len(line) <= width for line in lines)
    for _, name, value in table_rows(STATUS, SERVING):
        assert name.partition(",")[0] in "\n".join(lines)
        assert value.replace("24,610", "24.6k") in "\n".join(lines)
    most = dict.fromkeys(("minute", "hour", "day"), 100000)
    out.print(panels(replace(STATUS, activity={"failed_logins": most}), SERVING, width=width))
    assert re.search(r"failed logins +100k\+ +100k\+ +100k\+", out.export_text())


def test_what_is_wrong_stands_out() -> None:
    late = replace(STATUS, worker_seen_at=STATUS.at - timedelta(minutes=12), counted_to=20_000)
    out = Console(width=80, force_terminal=True, color_system="standard", record=True, file=io.StringIO())
    out.print(panels(late, None, width=80))
    shown = out.export_text(styles=True)
    assert re.search(r"\x1b\[1;31m *seen 12 min ago", shown)
    assert re.search(r"\x1b\[33m *not reachable", shown)
    assert "20,418+" in shown


def test_another_program_on_the_port_is_not_believed_and_learns_no_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    for answer in (
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"nonsense",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n\r\n",
        b"",
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            monkeypatch.setenv("USERSVC_SERVER__PORT", str(listener.getsockname()[1]))
            monkeypatch.setenv("USERSVC_SERVER__METRICS_TOKEN", "only-for-prometheus-0123456789abcdef")

            def serve(answer: bytes = answer, listener: socket.socket = listener) -> None:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            assert scrape(configuration.load()) is None
            thread.join()
    assert len(asked) == 4
    assert not any(b"only-for-prometheus" in request for request in asked)


@pytest.mark.process
def test_it_goes_on_until_q_or_a_signal_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    with usersvc.serving():
        usersvc.post("/auth/login", {"email": EMAIL, "password": "wrong"})
        found = json.loads(usersvc.run("status", "--json").stdout)
        assert found["api"] == {"processes": 1, "hashing": 0, "waiting": 0, "turned_away": 0}
        assert found["activity"]["failed_logins"]["hour"] == 1
        assert found["worker_seen_at"]
        for end in (
            lambda terminal: terminal.send("q"),
            lambda terminal: terminal.sendcontrol("c"),
        ):
            terminal = pexpect.spawn(
                USERSVC[0],
                [*USERSVC[1:], "status", "--interval", "0.5"],
                cwd=tmp_path,
                env={**usersvc.environ, "TERM": "xterm"},
                encoding="utf-8",
                timeout=PATIENCE_SECONDS,
                dimensions=(24, 80),
            )
            terminal.expect_exact("\x1b[?1049h")
            for _ in range(2):
                terminal.expect_exact("1 process")
                terminal.expect_exact("q ends")
            end(terminal)
            terminal.expect_exact("\x1b[?25h\x1b[?1049l")
            terminal.expect(pexpect.EOF)
            terminal.close()
            assert (terminal.exitstatus, terminal.signalstatus) == (0, None)
