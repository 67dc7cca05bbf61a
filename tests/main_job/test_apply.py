"""The example of docs/apply.md on an empty machine: at a terminal, by two at once, before a server starts."""

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pexpect
import pytest

from tests.processes import PATIENCE_SECONDS, USERSVC, Usersvc

pytestmark = pytest.mark.process

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "apply.md").read_text(encoding="utf-8")
SESSION = DOCUMENT.partition("    $ usersvc apply prod.toml\n")[2].partition("\n\n")[0]


def _words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_example_is_shown_at_a_terminal_and_applied_once_by_two_at_once(
    usersvc: Usersvc, rows: Callable[..., list[tuple]]
) -> None:
    folder = usersvc.folder
    [example] = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    (folder / "prod.toml").write_text(example, encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    usersvc.environ |= {"USERSVC_TOKENS__AUDIENCES": "orders, billing", "COLUMNS": "400"}
    usersvc.run("migrate")

    # Shown as the document has it, to the question, which is answered with no.
    terminal = pexpect.spawn(
        USERSVC[0],
        [*USERSVC[1:], "apply", "prod.toml"],
        cwd=str(folder),
        env={**usersvc.environ, "TERM": "xterm"},
        dimensions=(40, 400),
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
    )
    terminal.logfile_read = shown = io.StringIO()
    terminal.expect_exact("[y/N]: ")
    terminal.sendline("n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    table = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).partition("[y/N]")[0]
    assert _words(table)[1:] == _words(SESSION.partition(" [y/N]")[0])

    both = [
        subprocess.Popen(
            [*USERSVC, "apply", "--yes", "prod.toml"],
            cwd=folder,
            env=usersvc.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    each = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in both]
    told = "".join(each)
    assert [process.returncode for process in both] == [0, 0], told
    assert all(re.search("^(Done: |Somebody else has |Nothing is )", one, re.MULTILINE) for one in each), told
    secrets = {path.name: path.read_text(encoding="utf-8").strip() for path in (folder / "secrets").iterdir()}
    assert sorted(secrets) == ["invoicing", "webhook"]
    assert told.count("its secret is in") == 2
    assert "Nothing is to be done." in usersvc.run("apply", "--check", "--prune", "prod.toml").stdout

    [client_id] = re.findall(r"invoicing: id (\S+), its", told)
    with usersvc.serving() as server:
        token = httpx2.post(
            f"{usersvc.url}/oauth/token",
            data={"grant_type": "client_credentials", "audience": "billing"},
            auth=(client_id, secrets["invoicing"]),
            timeout=PATIENCE_SECONDS,
        )
        assert token.status_code == 200, token.text
        server.wait_until(lambda: len(usersvc.mails()) == 2, "both are invited")
        told += server.output
    told += str(rows("SELECT action, detail FROM audit"))
    assert "service.created" in told
    assert not any(secret in told for secret in secrets.values())
