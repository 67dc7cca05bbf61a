"""`usersvc import-users`: what it says, what it writes down, how it ends."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.files import FILES, lines

# What a command says is the same on every database.
pytestmark = pytest.mark.sqlite

GOOD = [{"email": f"u{number}@example.org", "email_verified": True} for number in range(3)]
BAD: list[dict[str, object] | str] = [
    {"email": "SECRET"},
    "SECRET",
    {"email": "x@example.org", "email_verified": True, "password_hash": "SECRET"},
]


@pytest.fixture
def made(run: Run) -> Run:
    run("migrate")
    return run


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_refused_lines_are_reported_and_the_others_are_in(made: Run, folder: Path) -> None:
    (folder / "users.jsonl").write_bytes(lines(*GOOD, *BAD))
    result = made("import-users", "users.jsonl", "--report", "refused.csv", code=3)
    assert [line.split() for line in result.stdout.splitlines()[:5]] == [
        ["users", "number"],
        ["imported", "3"],
        ["updated", "0"],
        ["skipped", "0"],
        ["refused", "3"],
    ]
    assert "This is no form of a password hash that is known here." in result.stdout
    header, *refused = _table(folder / "refused.csv")
    assert header == ["line", "field", "reason"]
    assert [row[:2] for row in refused] == [["4", "email"], ["5", ""], ["6", "password_hash"]]
    assert "SECRET" not in result.output + (folder / "refused.csv").read_text(encoding="utf-8")
    listed = json.loads(made("list-users", "--json").stdout)
    assert [user["email"] for user in listed] == [user["email"] for user in GOOD]


def test_a_report_takes_the_place_of_reports_alone(made: Run, folder: Path) -> None:
    users = lines(*GOOD, BAD[0])
    (folder / "users.jsonl").write_bytes(users)
    command = ("import-users", "users.jsonl", "--dry-run", "--report")
    assert "name another file" in made(*command, "users.jsonl", code=2).stderr
    assert (folder / "users.jsonl").read_bytes() == users
    made(*command, "refused.csv", code=3)
    made(*command, "refused.csv", code=3)


def test_json_has_the_counts_and_a_second_run_says_that_it_is_finished(made: Run, folder: Path) -> None:
    (folder / "users.jsonl").write_bytes(lines(*GOOD, BAD[0]))
    arguments = ("import-users", "users.jsonl", "--json")
    tried = json.loads(made(*arguments, "--dry-run", code=3).stdout)
    assert (tried["imported"], tried["dry_run"], tried["finished_at"]) == (3, True, None)
    assert json.loads(made("list-users", "--json").stdout) == []
    done = json.loads(made(*arguments, code=3).stdout)
    assert {name: done[name] for name in ("records", "imported", "refused", "done_before")} == {
        "records": 4,
        "imported": 3,
        "refused": 1,
        "done_before": 0,
    }
    assert done["reasons"] == [
        {"field": "email", "reason": "This is not an e-mail address we can use.", "lines": 1}
    ]
    again = made(*arguments)
    assert "This was finished at" in again.stderr
    assert json.loads(again.stdout)["imported"] == 3
    assert json.loads(made(*arguments, "--again", code=3).stdout)["skipped"] == 3


def test_a_pipe_goes_on_by_its_name(made: Run, folder: Path) -> None:
    piped = lines(*GOOD).decode()
    assert json.loads(made("import-users", "-", "--json", text=piped).stdout)["imported"] == 3
    assert json.loads(made("import-users", "-", "--json", text=piped).stdout)["skipped"] == 3
    named = ("import-users", "-", "--json", "--resume-as", "nightly")
    assert json.loads(made(*named, text=piped).stdout)["skipped"] == 3
    assert "finished" in made(*named, text=piped).stderr
    assert made("import-users", "-", "--on-conflict", "fail", text=piped, code=6).stderr.endswith(
        "Error: Line 1: there is an account with this address already.\n"
    )


def test_what_cannot_be_begun_is_said_before_anything_is_written(made: Run, folder: Path) -> None:
    (folder / "hash.txt").write_text("hash_config { rounds: 8 }", encoding="utf-8")
    firebase = ("import-users", str(FILES / "firebase.json"), "--from", "firebase")
    assert "--hash-config" in made(*firebase, code=3).stderr
    assert "base64_signer_key is missing" in made(*firebase, "--hash-config", "hash.txt", code=2).stderr
    assert "no field nonsense" in made("import-users", "-", "--field", "nonsense=x", text="", code=3).stderr
    assert "FIELD=NAME" in made("import-users", "-", "--field", "email", text="", code=2).stderr
    made("import-users", "nowhere.csv", code=8)
    assert "--on-conflict update" in made("import-users", "-", "--replace-passwords", text="", code=2).stderr
    assert "--from firebase" in made("import-users", "-", "--hash-config", "hash.txt", text="", code=2).stderr
    assert json.loads(made("list-users", "--json").stdout) == []


def test_firebase_comes_in_with_its_parameters_and_with_its_ids(made: Run) -> None:
    config = ("--hash-config", str(FILES / "firebase.txt"))
    found = made(
        "import-users", str(FILES / "firebase.json"), "--from", "firebase", *config, "--json", code=3
    )
    assert json.loads(found.stdout)["imported"] == 3
    signer_key = (FILES / "firebase.txt").read_text(encoding="utf-8").split("signer_key: ")[1].split(",")[0]
    assert signer_key not in found.output
