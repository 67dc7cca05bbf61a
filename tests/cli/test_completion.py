"""What shells offer for a name that is being typed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from tests.cli.conftest import Run
from tests.factories import EMAIL, OPERATOR
from tests.processes import PATIENCE_SECONDS, Usersvc
from usersvc.cli import completion
from usersvc.cli.app import app
from usersvc.core import Core
from usersvc.db.models import outbox
from usersvc.services import invitations, keys

Complete = Callable[..., list[str]]

# Valid addresses all of them: whoever registers chooses what an operator is offered.
EVIL = ["`reboot`", "a$b", "a|b", "a&b", "o'hara", "a*b", "{a}", "!1", "a#b", "a=b", "-rf", "~root"]


@pytest.fixture
def complete(folder: Path) -> Complete:
    def complete(*words: str, before: tuple[str, ...] = ()) -> list[str]:
        asked = {
            "_USERSVC_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(["usersvc", *before, *words]),
            "COMP_CWORD": str(len(before) + len(words)),
        }
        found = CliRunner().invoke(app, prog_name="usersvc", env=asked)
        assert (found.exit_code, found.stderr) == (0, "")
        return list(found.stdout.split())

    return complete


def test_an_address_is_completed_or_a_username(run: Run, inside: Core, complete: Complete) -> None:
    run("migrate")
    for email, username in (("ada@example.org", None), ("bob@example.org", "adelheid"), ("eve@x.org", None)):
        run("invite-user", email, *(["--username", username] if username else []))
    assert complete("show-user", "ad") == ["ada@example.org", "adelheid"]
    assert complete("audit", "--target", "eve@") == ["eve@x.org"]
    assert complete("set-role", "eve@x.org", "mo") == ["moderator"]
    assert complete("show-user", "x") == complete("show-user", "%") == []
    (Path.cwd() / "other.toml").write_text("[server]\ndata_dir = 'elsewhere'\n", encoding="utf-8")
    if inside.database.path:
        assert complete("show-user", "ad", before=("--config", "other.toml")) == []
        assert not Path("elsewhere").exists()


@pytest.mark.sqlite
def test_no_more_than_a_screen_and_nothing_that_a_shell_would_run(
    run: Run, inside: Core, complete: Complete
) -> None:
    run("migrate")
    keys.open_ring(inside)
    good = [f"u{number:02}@example.org" for number in range(25)]
    for email in [*(f"{name}@example.org" for name in EVIL), *good]:
        assert invitations.invite(inside, email=email, actor=OPERATOR).email == email
    assert complete("show-user", "u") == good[:20]
    assert set(complete("show-user", "")) < set(good)
    for name in EVIL:
        assert complete("show-user", name) == []


@pytest.mark.sqlite
def test_other_things_that_have_names_are_completed(run: Run, inside: Core, complete: Complete) -> None:
    run("migrate")
    run("create-group", "desk")
    run("create-service", "reports")
    run("create-webhook", "https://example.org/hook")
    run("invite-user", EMAIL)
    [webhook] = complete("delete-webhook", "")
    assert complete("webhook-deliveries", "--webhook", webhook[:8]) == [webhook]
    assert complete("show-group", "d") == ["desk"]
    assert complete("show-service", "") == ["reports"]
    assert len(complete("retire-key", "")) == 5
    assert "user.activated" in complete("audit", "--action", "user.")
    assert complete("retry-mail", "") == complete("retry-delivery", "") == []
    with inside.write() as tx:
        tx.connection.execute(update(outbox).values(status="dead"))
    assert len(complete("retry-mail", "")) == 1


@pytest.mark.sqlite
def test_without_a_database_nothing_is_offered_said_or_made(
    folder: Path, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(folder.iterdir())
    assert complete("show-user", "a") == complete("delete-webhook", "") == []
    assert complete("preview-mail", "acti") == ["activation", "activated"]
    assert set(folder.iterdir()) == before
    monkeypatch.setenv("USERSVC_SERVER__PORT", "-1")
    assert complete("show-user", "a") == []
    monkeypatch.delenv("USERSVC_SERVER__PORT")
    monkeypatch.setattr("usersvc.cli.opening.other_owner", lambda _: "service")
    assert complete("show-user", "a") == []


@pytest.mark.parametrize(
    ("words", "mended", "head"),
    [
        ("usersvc show-user bob @ ex", "usersvc show-user @ex", "bob"),
        ("usersvc show-user bob @", "usersvc show-user @", "bob"),
        ("usersvc show-user bob@ex", "usersvc show-user bob@ex", ""),
        ("usersvc set-role bob @ x.org ad", "usersvc set-role bob@x.org ad", ""),
        ("usersvc add-member desk a @ b", "usersvc add-member desk @b", "a"),
        ("usersvc show-user bo", "usersvc show-user bo", ""),
    ],
)
def test_the_words_of_bash_are_put_together(
    words: str, mended: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion._Word, "head", "")
    split = words.split(" ")
    environ = {
        "_USERSVC_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join([*split, "behind"]),
        "COMP_CWORD": str(len(split) - 1),
    }
    completion.mend_words(environ)
    assert environ["COMP_WORDS"].split("\n") == mended.split(" ")
    assert environ["COMP_CWORD"] == str(len(mended.split(" ")) - 1)
    assert completion._Word.head == head


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Any]:
    usersvc = Usersvc(tmp_path)
    usersvc.run("migrate")
    usersvc.run("invite-user", EMAIL)
    environ = {
        **usersvc.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "dumb",
    }
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        cwd=tmp_path,
        env=environ,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
    )
    shell.sendline('eval "$(_USERSVC_COMPLETE=source_bash usersvc)"; echo comp""lete')
    shell.expect("complete\r")
    yield shell
    shell.close(force=True)


@pytest.mark.process
@pytest.mark.sqlite
def test_bash_completes_an_address_before_and_behind_its_sign(bash: Any) -> None:
    name, _, domain = EMAIL.partition("@")
    for typed, rest in ((name[:2], f"{name[2:]}@{domain}"), (f"{name}@{domain[:2]}", domain[2:])):
        bash.send(f"echo [usersvc show-user]; usersvc show-user {typed}\t")
        bash.expect_exact(f"show-user {typed}")
        bash.expect_exact(f"{rest} ")
        bash.sendcontrol("c")
