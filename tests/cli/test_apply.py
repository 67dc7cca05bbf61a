"""A file applied from the shell: what is shown, asked, refused, and never told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.database import rows
from tests.factories import EMAIL, PASSWORD
from usersvc.cli.apply import DIFFERS
from usersvc.core import Core
from usersvc.services.apply.declaration import _SECTIONS, Declaration, Entry

# What commands show and refuse is the same on every database.
pytestmark = pytest.mark.sqlite

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "apply.md"
ROOT = "root@example.org"
TEXT = f"""
    [[administrators]]
    email = "{EMAIL}"

    [[groups]]
    name = "desk"
    permissions = ["orders:read"]

    [[services]]
    name = "invoicing"
    permissions = []
    secret_file = "invoicing"

    [[services]]
    name = "files"
    permissions = []

    [[webhooks]]
    url = "https://hooks.example.org/in?key=hidden"
    """


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "deploy" / "prod.toml"
    path.parent.mkdir(mode=0o700)
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def ready(run: Run, file: Path) -> str:
    """The file as it is named on the command line; there is a database with an administrator."""
    run("create-admin", ROOT, "--password-stdin", text=PASSWORD)
    return str(file)


def test_a_difference_is_shown_asked_for_and_made_once(
    run: Run, ready: str, file: Path, inside: Core
) -> None:
    before = run("apply", ready, "--check", code=DIFFERS).stdout
    lines = [" ".join(line.split()) for line in before.splitlines() if line]
    assert lines == [
        "section name what",
        f"+ administrators {EMAIL} role: admin; is invited by mail",
        "+ groups desk permissions: +orders:read",
        "+ services invoicing secret_file: invoicing",
        "+ services files",
        "+ webhooks https://hooks.example.org/… events: all",
        "Left alone; --prune would do it:",
        "section name what",
        f"- administrators {ROOT} role: admin -> user",
    ]
    # Nobody is there to be asked: nothing is changed.
    assert "add --yes" in run("apply", ready, code=2).stderr
    assert "--check or --yes" in run("apply", ready, "--json", code=2).stderr
    assert run("apply", ready, "--check", code=DIFFERS).stdout == before

    made = run("apply", ready, "--yes")
    secret = (file.parent / "invoicing").read_text(encoding="utf-8").strip()
    told = made.output + str(rows(inside, "SELECT detail FROM audit"))
    assert secret not in told
    assert "hidden" not in told
    assert "Done: 5 changes." in made.stdout
    assert f"its secret is in {file.parent}/invoicing" in made.stdout
    assert re.search(r"files: id \S+, no secret file is named: `usersvc rotate-service files`", made.stdout)
    [again] = re.findall(r"`usersvc (rotate-webhook-secret \S+)`", made.stdout)
    assert "Secret:" in run(*again.split()).stdout
    assert "A worker mails the invitations" in made.stdout

    same = run("apply", ready, "--yes").stdout
    assert "Nothing is to be done." in same
    assert f"= administrators {EMAIL} invited" in " ".join(same.split())
    assert run("apply", ready, "--check").stdout == same

    # Of everything that may not go, nothing goes.
    refused = run("apply", ready, "--prune", "--yes", code=6)
    assert "No active administrator would be left" in refused.stderr
    file.write_text("services = []\nwebhooks = []", encoding="utf-8")
    document = json.loads(run("apply", ready, "--prune", "--yes", "--json").stdout)
    assert [(one["action"], one["name"]) for one in document["done"]] == [
        ("remove", "files"),
        ("remove", "invoicing"),
        ("remove", "https://hooks.example.org/…"),
    ]
    assert json.loads(run("webhooks", "--json").stdout) == []


def test_the_plan_is_one_document_of_json_without_a_secret(run: Run, ready: str, file: Path) -> None:
    plan = json.loads(run("apply", ready, "--check", "--json", code=DIFFERS).stdout)
    assert (plan["file"], plan["prune"], plan["unchanged"], plan["done"]) == (str(file), False, [], [])
    assert plan["to_do"][1] == {
        "action": "make",
        "section": "groups",
        "name": "desk",
        "id": None,
        "note": None,
        "differences": [{"what": "permissions", "added": ["orders:read"], "removed": []}],
    }
    [left] = plan["left_alone"]
    assert left["differences"] == [{"what": "role", "from": "admin", "to": "user"}]
    done = json.loads(run("apply", ready, "--yes", "--json").stdout)
    secret = (file.parent / "invoicing").read_text(encoding="utf-8").strip()
    assert secret not in json.dumps(done)
    assert [one["secret_file"] for one in done["done"] if one["name"] == "invoicing"] == [
        str(file.parent / "invoicing")
    ]
    assert json.loads(run("apply", ready, "--check", "--json").stdout)["to_do"] == []


def test_a_wrong_file_is_told_as_wrong_settings_are_and_a_database_must_be_there(
    run: Run, file: Path, folder: Path
) -> None:
    assert "usersvc migrate" in run("apply", str(file), "--yes", code=8).stderr
    assert not (folder / "data").exists()
    run("migrate")
    file.write_text('[[groups]]\nname = "desk"\n[[group]]', encoding="utf-8")
    assert run("apply", str(file), "--check", code=78).stderr.splitlines()[1:] == [
        "This file cannot be applied:",
        f"  {file}: group: there is no such section",
        f"  {file}: groups 1 (desk): permissions: expected here",
    ]


def test_what_was_done_before_a_refusal_is_named(run: Run, ready: str, file: Path) -> None:
    run("invite-user", "mo@example.org")
    many = str([f"{'x' * 20}:{'y' * 28}{number}" for number in range(90)])
    text = '[[groups]]\nname = "a"\npermissions = []\n[[groups]]\nname = "b"\nmembers = ["mo@example.org"]\n'
    file.write_text(f"{text}permissions = {many}", encoding="utf-8")
    refused = run("apply", ready, "--yes", code=6).stderr
    assert refused.splitlines()[1:3] == ["1 of 2 changes were made before this:", "  + groups a"]
    assert "The access token of a member would get too large" in refused
    assert [group["name"] for group in json.loads(run("list-groups", "--json").stdout)] == ["a", "b"]


def test_every_key_of_the_file_is_documented_and_no_other() -> None:
    documented: dict[str, set[str]] = {}
    section = ""
    for named, keys in re.findall(r"^\| (`\[\[[a-z]+\]\]`)? ?\| (`[a-z_`, ]+) \|", _document(), re.MULTILINE):
        section = named.strip("`[]") or section
        documented.setdefault(section, set()).update(re.findall(r"`([a-z_]+)`", keys))
    assert documented == {name: set(kind.model_fields) for name, kind in _SECTIONS.items()}
    assert list(_SECTIONS) == list(Declaration._fields[1:])
    assert all(issubclass(kind, Entry) for kind in _SECTIONS.values())


def _document() -> Any:
    return DOCUMENT.read_text(encoding="utf-8")
