"""Backups as an operator makes, reads and restores them."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD

pytestmark = pytest.mark.sqlite  # tests/services has both; what is printed is the same

FILE = "users.backup"


@pytest.fixture
def filled(run: Run) -> Run:
    run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    return run


def _emails(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "data" / "usersvc.db")) as file:
        return {email for (email,) in file.execute("SELECT email FROM users")}


def test_there_and_back(filled: Run, folder: Path) -> None:
    made = filled("backup", FILE)
    assert (
        f"{FILE}: {(folder / FILE).stat().st_size:,} bytes, with all that was acknowledged by" in made.stdout
    )
    assert "--force" in filled("backup", FILE, code=6).stderr
    assert "a pipe" in filled("backup", "-", code=2).stderr
    assert "There is no folder nowhere." in filled("backup", "nowhere/file", code=2).stderr
    assert json.loads(filled("backup", FILE, "--force", "--json").stdout)["audited"] is True
    assert "rows of users" in filled("verify-backup", FILE).stdout
    found = json.loads(filled("verify-backup", FILE, "--json").stdout)
    assert (found["problems"], found["secret_fits"], found["rows"]["users"]) == ([], True, 1)

    filled("create-admin", "bob@example.org", "--password-stdin", text=PASSWORD)
    filled("deactivate", EMAIL)
    for answer in ("n\n", ""):
        asked = filled("restore", FILE, text=answer, code=1)
        assert "Replace the database by the backup? [y/N]" in asked.stderr
    assert _emails(folder) == {EMAIL, "bob@example.org"}
    done = filled("restore", FILE, text="y\n")
    assert "user.deactivated  1" in done.stdout
    assert "before: active" in done.stdout
    assert "Everybody logs in anew" in done.stderr
    assert _emails(folder) == {EMAIL}
    assert "active" in filled("show-user", EMAIL).stdout
    [kept] = (folder / "data").glob("usersvc.db.replaced-*")
    assert filled("verify-backup", str(kept)).exit_code == 0
    assert "database.restored" in filled("audit", "--json").stdout


def test_a_backup_put_in_place_by_hand_serves_nothing_before_after_restore(filled: Run, folder: Path) -> None:
    filled("backup", FILE)
    for left in (folder / "data").glob("usersvc.db-*"):
        left.unlink()
    shutil.copy(folder / FILE, folder / "data" / "usersvc.db")
    for arguments in (["list-users"], ["migrate"], ["create-admin", EMAIL]):
        assert "run `usersvc after-restore`" in filled(*arguments, code=8).stderr
    assert "put in place by hand" in filled("doctor", code=8).stdout
    assert "[y/N]" in filled("after-restore", text="n\n", code=1).stderr
    assert "New keys: 3." in filled("after-restore", "--yes").stdout
    again = json.loads(filled("after-restore", "--yes", "--json").stdout)
    assert again["keys"] == 3
    assert again["ended"] == {"sessions": 0, "links": 0, "mails": 0, "deliveries": 0}
    assert EMAIL in filled("list-users").stdout


def test_who_is_named_is_erased_again(filled: Run, folder: Path) -> None:
    filled("create-admin", "eve@example.org", "--password-stdin", text=PASSWORD)
    eve = json.loads(filled("show-user", "eve@example.org", "--json").stdout)["id"]
    filled("backup", FILE)
    named = folder / "erased.txt"
    named.write_text(f"id erased_at\n{eve} 2026-11-29 01:00:00Z\n\n{uuid4()}\n")
    assert "Erased again: 1." in filled("restore", FILE, "--erased", str(named), "--yes").stdout
    assert _emails(folder) == {EMAIL}
    named.write_text(f"{eve}\nsomebody\n")
    assert "line 2: this is no id" in filled("after-restore", "--erased", str(named), code=2).stderr


def test_what_is_no_backup_is_refused_and_so_is_another_secret_key(filled: Run, folder: Path) -> None:
    (folder / "letter.txt").write_text("Dear Ada")
    for command in (["verify-backup"], ["restore", "--yes"]):
        assert "is no backup of usersvc" in filled(*command, "letter.txt", code=3).stderr
        assert "No such file" in filled(*command, "nothing", code=8).stderr
    filled("backup", FILE)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-8000])
    assert "cannot be relied on: it is damaged" in filled("verify-backup", FILE, code=6).stderr
    filled("backup", "good.backup")
    filled("rotate-secret", "--yes")
    before = (folder / "data" / "usersvc.db").read_bytes()
    assert (
        "is not the secret key that the backup" in filled("restore", "good.backup", "--yes", code=78).stderr
    )
    assert "is not the one that" in filled("verify-backup", "good.backup", code=6).stderr
    assert (folder / "data" / "usersvc.db").read_bytes() == before
    assert not list((folder / "data").glob("*replaced*"))
