"""What stands between a person and a command: a real terminal, help, versions, exit codes."""

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pexpect
import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Run
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD
from tests.processes import PATIENCE_SECONDS, USERSVC, Usersvc
from usersvc import __version__
from usersvc.cli.app import CLOSED_PIPE, EXIT, app
from usersvc.cli.commands import COMMANDS, Listed, load
from usersvc.errors import Kind

pytestmark = pytest.mark.sqlite  # what is shown is the same on both

NAMES = [listed.name for listed in COMMANDS]


def _on_a_terminal(usersvc: Usersvc, *arguments: str) -> pexpect.spawn:
    return pexpect.spawn(
        USERSVC[0],
        [*USERSVC[1:], *arguments],
        cwd=str(usersvc.folder),
        env={**usersvc.environ, "TERM": "xterm-256color"},
        dimensions=(40, 120),
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
    )


def _end(terminal: pexpect.spawn) -> tuple[int, str]:
    """The exit code, and what was shown since the last expectation."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus, terminal.before


@pytest.mark.process
def test_the_password_is_asked_for_twice_and_never_shown(tmp_path: Path) -> None:
    terminal = _on_a_terminal(Usersvc(tmp_path), "create-admin", EMAIL)
    terminal.logfile_read = shown = io.StringIO()
    for prompt, answer in [
        ("Password: ", PASSWORD),
        ("Repeat password: ", OTHER_PASSWORD),
        ("Password: ", PASSWORD),
        ("Repeat password: ", PASSWORD),
    ]:
        terminal.expect_exact(prompt)
        terminal.waitnoecho()
        terminal.sendline(answer)
    assert _end(terminal)[0] == 0
    assert "do not match" in shown.getvalue()
    assert f"{EMAIL} is now an administrator." in shown.getvalue()
    assert PASSWORD not in shown.getvalue()
    assert OTHER_PASSWORD not in shown.getvalue()


@pytest.mark.process
def test_ctrl_c_at_a_question_changes_nothing_and_exits_with_1(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    terminal = _on_a_terminal(usersvc, "create-admin", "root@example.org")
    terminal.expect_exact("Password: ")
    terminal.waitnoecho()
    terminal.sendintr()
    code, shown = _end(terminal)
    assert code == 1
    assert "Aborted!" in shown
    assert "Traceback" not in shown
    assert "root@example.org" not in usersvc.run("list-users").stdout


@pytest.mark.process
def test_ctrl_c_ends_a_command_at_once_and_without_a_word_already_while_it_is_imported(
    tmp_path: Path,
) -> None:
    code = (
        "import signal, sys\n"
        "from usersvc.__main__ import main\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "main()\n"
    )
    found = subprocess.run(
        [USERSVC[0], "-c", code], cwd=tmp_path, capture_output=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.process
def test_ctrl_c_ends_a_progress_bar_at_once_and_leaves_the_cursor(tmp_path: Path) -> None:
    """While it waits for its turn to write, inside of SQLite."""
    usersvc = Usersvc(tmp_path)
    usersvc.run("migrate")
    with contextlib.closing(sqlite3.connect(usersvc.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        terminal = _on_a_terminal(usersvc, "purge-tokens")
        terminal.expect_exact("Purging")
        terminal.sendintr()
        _, shown = _end(terminal)
    assert terminal.signalstatus == signal.SIGINT
    assert "Traceback" not in shown
    assert "\x1b[?25l" not in terminal.before + shown


@pytest.mark.process
def test_serve_greets_a_person_with_what_to_do_next_and_stops_at_ctrl_c(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    terminal = _on_a_terminal(usersvc, "serve")
    terminal.expect_exact("ready")
    for shown in (
        f"{usersvc.url}/api/v1",
        f"{usersvc.url}/docs",
        "data/usersvc.db",
        "data/mail/",
        "create-admin",
    ):
        assert shown in terminal.before
    terminal.sendintr()
    code, shown = _end(terminal)
    assert code == 0
    assert "Traceback" not in shown


@pytest.mark.process
def test_among_json_lines_serve_tells_the_same_in_one_line(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.environ["USERSVC_SERVER__HOST"] = "0.0.0.0"
    with usersvc.serving() as server:
        lines = [json.loads(line) for line in server.output.splitlines()]
    [told] = [line for line in lines if line["event"] == "serving"]
    for key in ("level", "logger", "timestamp"):
        assert told.pop(key)
    assert told == {
        "event": "serving",
        "api": f"{usersvc.url}/api/v1",
        "try_it": f"{usersvc.url}/docs",
        "database": "data/usersvc.db",
        "url": f"links begin with {usersvc.url}: set server.public_url for other machines",
        "mail": "files in data/mail/",
        "next": "usersvc create-admin",
    }


@pytest.mark.process
def test_where_lines_are_for_people_serve_tells_it_to_them_without_a_terminal_too(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.environ["USERSVC_LOG__FORMAT"] = "console"
    with usersvc.serving() as server:
        assert f"API       {usersvc.url}/api/v1\n" in server.output
        assert "Stop      Ctrl+C\n" in server.output


@pytest.mark.process
def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    with usersvc.serving():
        found = usersvc.run("serve", check=8)
        assert found.stderr.count("\n") == 1
        assert f"127.0.0.1:{usersvc.port}" in found.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(run: Run, arguments: list[str]) -> None:
    shown = run(*arguments, code=0 if arguments else 2).output
    for command in NAMES:
        assert command in shown


def test_help_has_the_commands_under_their_headings(run: Run) -> None:
    paragraphs = run("--help").stdout.split("\n\n")
    headed = {lines[0]: lines[1:] for lines in map(str.splitlines, paragraphs[3:])}
    assert list(headed) == list(dict.fromkeys(f"{listed.section}:" for listed in COMMANDS))
    for listed in COMMANDS:
        [line] = [line for line in headed[f"{listed.section}:"] if line.startswith(f"  {listed.name} ")]
        assert listed.help.startswith(line.removeprefix(f"  {listed.name} ").strip())


@pytest.mark.parametrize("listed", COMMANDS, ids=lambda listed: listed.name)
def test_the_list_says_of_a_command_what_it_says_of_itself(listed: Listed) -> None:
    assert load(listed.name).get_short_help_str(1000) == listed.help


def test_headings_are_bold_on_a_terminal_alone(run: Run) -> None:
    assert "\x1b[1mUsers:\x1b[0m\n" in run("--help", color=True).stdout
    assert "\x1b[1mOptions:\x1b[0m\n" in run("show-user", "--help", color=True).stdout
    assert "\x1b" not in run("--help").stdout


def test_a_shell_completes_commands_and_their_options() -> None:
    for words, answer in {
        "usersvc rev": ["revoke-sessions", "revoke-credential"],
        "usersvc show-user --j": ["--json"],
    }.items():
        asked = {
            "_USERSVC_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        found = CliRunner().invoke(app, prog_name="usersvc", env=asked)
        assert (found.stdout.split(), found.exit_code) == (answer, 0)


def test_a_command_that_is_nearly_one_is_told(run: Run) -> None:
    assert "No such command 'unlok'. Did you mean 'unlock'?" in run("unlok", code=2).output


@pytest.mark.parametrize("command", NAMES)
def test_each_command_explains_itself(run: Run, command: str) -> None:
    assert "Usage: usersvc" in run(command, "--help").stdout


def test_the_version_is_shown(run: Run) -> None:
    assert run("--version").stdout == f"usersvc {__version__}\n"


def test_a_command_that_is_none_is_a_usage_error(run: Run) -> None:
    run("dance", code=2)
    run("create-admin", code=2)


def test_each_kind_of_error_has_its_exit_code() -> None:
    assert EXIT == {
        Kind.INVALID: 3,
        Kind.UNAUTHENTICATED: 4,
        Kind.FORBIDDEN: 4,
        Kind.NOT_FOUND: 5,
        Kind.CONFLICT: 6,
        Kind.THROTTLED: 7,
        Kind.UNAVAILABLE: 8,
    }


@pytest.mark.process
def test_a_bug_shows_a_traceback_without_local_variables_and_exits_with_1(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("migrate")
    broken = tmp_path / "usersvc_broken.py"
    broken.write_text(
        "import usersvc.services.first_admin as first_admin\n"
        "def broken(core, **values):\n"
        "    raise ZeroDivisionError('a bug')\n"
        "first_admin.create_admin = broken\n"
        "from usersvc.cli.app import main\n"
        "main()\n",
        encoding="utf-8",
    )
    found = subprocess.run(
        [USERSVC[0], str(broken), "create-admin", EMAIL, "--password-stdin"],
        cwd=tmp_path,
        env=usersvc.environ,
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert found.returncode == 1
    assert "ZeroDivisionError: a bug" in found.stderr
    assert PASSWORD not in found.stderr


@pytest.mark.process
def test_bytes_that_are_no_text_are_refused_in_one_line(tmp_path: Path) -> None:
    for arguments in ([b"show-user", b"\xff"], [b"list-users", b"--query", b"\xff"]):
        command = [*(part.encode() for part in USERSVC), *arguments]
        found = subprocess.run(
            command, cwd=tmp_path, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert (found.returncode, found.stderr) == (2, b"Error: an argument is not text in UTF-8.\n")


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "--all", "--json"],
        ["audit", "--follow", "--since", "1h"],
        ["list-users"],
        ["doctor"],
        ["--version"],
        ["show-user", "--help"],
    ],
    ids=" ".join,
)
def test_a_closed_pipe_ends_a_command_without_a_word(tmp_path: Path, arguments: list[str]) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("migrate")
    unread, pipe = os.pipe()
    os.close(unread)
    try:
        found = subprocess.run(
            [*USERSVC, *arguments],
            cwd=tmp_path,
            env=usersvc.environ,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    finally:
        os.close(pipe)
    assert found.returncode == CLOSED_PIPE
    assert [line for line in found.stderr.splitlines() if not line.startswith("Database: ")] == []
