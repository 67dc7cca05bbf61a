"""`set-profile`, `set-attributes`, `check-profiles`, and what `show-user` says of them."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD
from tests.profiles import schemas_in, write_schema


@pytest.fixture
def kept(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both schemas, beside a database with one account."""
    for name, value in schemas_in(folder).items():
        monkeypatch.setenv(f"USERSVC_{name.upper()}", str(value))
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    return folder


def test_both_are_set_shown_and_cleared(run: Run, kept: Path) -> None:
    (kept / "ada.json").write_text('\ufeff{"display_name": "Ада", "points": 1}', encoding="utf-8")
    assert run("set-profile", EMAIL, "ada.json").stdout == f"The profile of {EMAIL} is set now.\n"
    given = '{"plan": "free", "plan": "paid"}'
    assert run("set-attributes", EMAIL, "-", text=given).stdout == f"The attributes of {EMAIL} are set now.\n"
    shown = json.loads(run("show-user", EMAIL, "--json").stdout)
    assert (shown["profile"], shown["attributes"]) == ({"display_name": "Ада", "points": 1}, {"plan": "paid"})
    assert '{"display_name":"Ада","points":1}' in run("show-user", EMAIL).stdout
    assert "profile" not in json.loads(run("list-users", "--json").stdout)[0]
    assert run("set-profile", EMAIL, "--clear").stdout == f"The profile of {EMAIL} is empty now.\n"
    assert json.loads(run("show-user", EMAIL, "--json").stdout)["profile"] == {}
    [entry] = json.loads(run("audit", "--action", "user.attributes_changed", "--json").stdout)
    assert (entry["actor_kind"], entry["detail"]) == ("operator", {"fields": ["plan"]})


def test_what_does_not_fit_or_is_no_json_changes_nothing(run: Run, kept: Path) -> None:
    refused = run("set-profile", EMAIL, "-", text='{"points": "1", "x\\u001b[2J": 1}', code=3)
    assert refused.stderr.splitlines()[-1] == (
        "Error: This profile does not fit what is kept here. profile.points: This value is not of type "
        '"integer". profile.x\N{REPLACEMENT CHARACTER}[2J: There is no such field.'
    )
    for text, arguments, said in (
        ("[]", ["-"], "expected a JSON object"),
        ("{", ["-"], "not JSON"),
        ("", ["-"], "not JSON"),
        (f'{{"notes": ["{"x" * (1 << 20)}"]}}', ["-"], "more than 1 MiB"),
        ("", [], "Name a FILE"),
        ("{}", ["-", "--clear"], "Name a FILE"),
        ("", ["nowhere.json"], "nowhere.json"),
    ):
        assert said in run("set-attributes", EMAIL, *arguments, text=text, code=2).stderr
    run("set-profile", "nobody@example.org", "--clear", code=5)
    assert json.loads(run("show-user", EMAIL, "--json").stdout)["profile"] == {}


def test_after_a_change_of_the_schema_what_does_not_fit_is_listed(run: Run, kept: Path) -> None:
    run("set-profile", EMAIL, "-", text='{"points": 1, "newsletter": true}')
    assert json.loads(run("check-profiles", "--json").stdout) == []
    write_schema(
        kept / "profile.schema.json", {"properties": {"points": {"maximum": 0}, "newsletter": False}}
    )
    [found] = json.loads(run("check-profiles", "--json").stdout)
    assert (found["email"], found["what"]) == (EMAIL, "profile")
    assert found["problems"] == [
        {"field": "profile.newsletter", "message": "There is no such field."},
        {"field": "profile.points", "message": "This value is greater than the maximum of 0."},
    ]
    assert "profile.points" in run("check-profiles").stdout
    write_schema(kept / "profile.schema.json", {"type": "objekt"})
    wrong = run("check-profiles", code=78).stderr
    assert wrong.splitlines()[0] == "A setting is wrong:"
    assert "profiles.profile_schema" in wrong
