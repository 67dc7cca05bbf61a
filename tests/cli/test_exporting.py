"""`export-users`: a file that is there whole or not at all; tests/services has what stands in it."""

import csv
import io
import json
import os
import shutil
import signal
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, active, audit_rows, invited, user_row
from usersvc import configuration
from usersvc.cli.stopping import STOPPED
from usersvc.core import Core, build
from usersvc.mail.transports import MemoryTransport
from usersvc.services import exporting, keys

pytestmark = pytest.mark.sqlite  # what is in the file is tested on both


@pytest.fixture
def core(folder: Path, prepared: Path):
    shutil.copytree(prepared, folder / "data")
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    active(core)
    invited(core, "bob@example.org")
    yield core
    core.close()


def _here(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "data")


def test_the_form_follows_the_ending_and_the_owner_alone_can_read_it(
    run: Run, core: Core, folder: Path
) -> None:
    result = run("export-users", "users.csv")
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("", "Exported 2 accounts to users.csv.")
    run("export-users", "users.JSONL", "--status", "active")
    run("export-users", "users.txt", "--format", "jsonl", "--query", "bob")
    rows = list(csv.DictReader(io.StringIO((folder / "users.csv").read_text(encoding="utf-8"))))
    assert [row["email"] for row in rows] == [EMAIL, "bob@example.org"]
    assert json.loads((folder / "users.JSONL").read_bytes())["email"] == EMAIL
    assert json.loads((folder / "users.txt").read_bytes())["email"] == "bob@example.org"
    assert _here(folder) == ["users.JSONL", "users.csv", "users.txt"]
    for name in _here(folder):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_standard_output_has_lines_of_json_alone(run: Run, core: Core) -> None:
    for arguments in ([], ["-"]):
        result = run("export-users", *arguments)
        assert [json.loads(line)["email"] for line in result.stdout.splitlines()] == [
            EMAIL,
            "bob@example.org",
        ]
    assert run("export-users", "--format", "csv").stdout.startswith("id,email,")


def test_no_file_is_replaced_without_a_yes(run: Run, core: Core, folder: Path) -> None:
    file = folder / "users.csv"
    file.write_text("mine", encoding="utf-8")
    (folder / "link.csv").symlink_to(file)
    for answer in ("n\n", ""):
        result = run("export-users", "link.csv", text=answer, code=1)
        assert "link.csv is there already: replace it?" in result.stderr
    assert file.read_text(encoding="utf-8") == "mine"
    assert audit_rows(core, "users.exported") == []
    run("export-users", "link.csv", text="y\n")
    assert (folder / "link.csv").is_symlink()
    assert EMAIL in file.read_text(encoding="utf-8")
    file.write_text("mine", encoding="utf-8")
    run("export-users", "users.csv", "--yes")
    assert EMAIL in file.read_text(encoding="utf-8")


def test_a_file_that_somebody_made_meanwhile_stays(
    run: Run, core: Core, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exporting.export

    def late(*arguments: object, **more: object):
        (folder / "users.csv").write_text("theirs", encoding="utf-8")
        return export(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "export", late)
    assert "meanwhile" in run("export-users", "users.csv", code=2).stderr
    assert (folder / "users.csv").read_text(encoding="utf-8") == "theirs"
    assert _here(folder) == ["users.csv"]


def test_hashes_are_handed_out_after_a_warning_and_a_yes(run: Run, core: Core, folder: Path) -> None:
    known = user_row(core).password_hash or ""
    result = run("export-users", "users.csv", "--with-hashes", text="n\n", code=1)
    assert "Hand out the password hashes of 2 accounts?" in result.stderr
    assert "Warning: whoever gets password hashes" in result.stderr
    assert _here(folder) == []
    assert audit_rows(core, "users.exported") == []
    run("export-users", "users.csv", "--with-hashes", text="y\n")
    assert known in (folder / "users.csv").read_text(encoding="utf-8")
    told = json.loads(run("export-users", "users.csv", "--with-hashes", "--yes", "--json").stdout)
    accounts = len((folder / "users.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert told == {"file": "users.csv", "format": "csv", "accounts": accounts, "with_hashes": True}
    result = run("export-users", "--with-hashes", "--yes")
    assert "Warning" in result.stderr
    assert known in result.stdout
    assert [entry.detail["hashes"] for entry in audit_rows(core, "users.exported")] == [True] * 3


def test_what_cannot_be_is_told_and_writes_nothing(run: Run, folder: Path, core: Core) -> None:
    for arguments, code, told in [
        (["users.txt"], 2, "users.txt does not end in .csv or .jsonl: add --format."),
        (["data"], 2, "data is no ordinary file"),
        (["/dev/null"], 2, "/dev/null is no ordinary file"),
        (["nowhere/users.csv"], 2, "There is no folder"),
        (["users.csv", "--format", "xml"], 2, "--format"),
        (["users.csv", "--before", "soon"], 2, "soon is no time"),
        (["users.csv", "--inactive-for", "2026-01-01"], 2, "2026-01-01 is no span of time"),
        (["users.csv", "--after", "1h", "--before", "2h"], 2, "--after is later than --before"),
        (["users.csv", "--group", "desk"], 5, "There is no group desk."),
    ]:
        assert told in run("export-users", *arguments, code=code).stderr.replace("\n", " ")
    assert _here(folder) == []
    assert audit_rows(core, "users.exported") == []


def test_ctrl_c_leaves_no_file_and_what_was_there(
    run: Run, core: Core, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_AT_ONCE", 1)
    export = exporting.export

    def interrupted(*arguments: object, **more: object):
        for piece in export(*arguments, **more):  # type: ignore[arg-type]
            assert len([name for name in _here(folder) if name.startswith(".users.jsonl.")]) == 1
            signal.raise_signal(signal.SIGINT)
            yield piece

    monkeypatch.setattr(exporting, "export", interrupted)
    (folder / "users.jsonl").write_text("mine", encoding="utf-8")
    result = run("export-users", "users.jsonl", "--yes", code=STOPPED)
    assert result.stderr.splitlines()[-1] == "Stopped by Ctrl+C after 1 account of 2."
    assert _here(folder) == ["users.jsonl"]
    assert (folder / "users.jsonl").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_leaves_no_file(
    run: Run, core: Core, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with closing(core):
        assert "No space left on device" in run("export-users", "users.csv", code=8).stderr
    assert _here(folder) == []
