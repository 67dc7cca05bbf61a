"""`preview-mail`, and what `check-config` says of templates: without a database."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from usersvc.locales import LOCALES
from usersvc.mail.samples import SAMPLES
from usersvc.mail.templating import BUILT_IN

# It is the same on every database.
pytestmark = pytest.mark.sqlite


@pytest.fixture
def templates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = folder / "templates"
    made.mkdir(mode=0o755)
    monkeypatch.setenv("USERSVC_MAIL__TEMPLATES_DIR", "templates")
    return made


def test_one_mail_is_printed_with_where_it_comes_from(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("preview-mail", "activation", "--locale", "de")
    assert shown.stdout.startswith("Subject: Aktivieren Sie Ihr Konto bei users.example.org\n\nGuten Tag,\n")
    file = BUILT_IN / "de" / "activation.jinja"
    assert shown.stderr == f"Text: {file}\nHTML: {file}\n"
    monkeypatch.setenv("USERSVC_MAIL__DEFAULT_LOCALE", "hi")
    assert "नमस्ते," in run("preview-mail", "test").stdout
    assert list(folder.iterdir()) == [], "it needs no database and makes none"


def test_all_mails_are_written_into_a_folder(run: Run, folder: Path, templates: Path) -> None:
    (templates / "test.html").write_text("<p>{{ host }}</p>")
    table = run("preview-mail", "--to-dir", "look/here").stdout
    written = {path.name for path in (folder / "look" / "here").iterdir()}
    expected = {
        f"{kind}.{locale}.{ending}" for kind in SAMPLES for locale in LOCALES for ending in ("txt", "html")
    }
    assert written == expected
    assert len(table.splitlines()) == 1 + len(expected)
    [row] = [line.split() for line in table.splitlines() if "test.zh-Hans.html" in line]
    assert row == ["look/here/test.zh-Hans.html", str(templates / "test.html")]
    assert (folder / "look/here/test.fr.html").read_text() == "<p>users.example.org</p>"
    text = (folder / "look/here/test.zh-Hans.txt").read_text(encoding="utf-8")
    assert text.startswith("来自 users.example.org 的测试邮件\n\n您好")
    one = run("preview-mail", "test", "--locale", "fr", "--to-dir", "one", "--json").stdout
    [document] = json.loads(one)
    assert {path.name for path in (folder / "one").iterdir()} == {"test.fr.txt", "test.fr.html"}
    assert (document["kind"], document["locale"], document["mistakes"]) == ("test", "fr", [])
    assert document["written"] == ["one/test.fr.txt", "one/test.fr.html"]
    assert document["html_from"] == str(templates / "test.html")


def test_a_mistake_is_told_with_its_line_and_the_built_in_mail_shown(run: Run, templates: Path) -> None:
    file = templates / "de" / "activation.txt"
    file.parent.mkdir(mode=0o755)
    file.write_text("Betreff\n\nHallo {{ name }}\n")
    told = [
        f"  {file}:3: UndefinedError: 'name' is undefined",
        "Error: Templates have mistakes: mails are made from the built-in ones in their place.",
    ]
    shown = run("preview-mail", "activation", "--locale", "de", code=3)
    assert "Guten Tag," in shown.stdout
    assert shown.stderr.splitlines()[2:] == told
    checked = run("check-config", code=3)
    assert checked.stdout.startswith("The settings are valid")
    assert checked.stderr.splitlines() == told
    run("preview-mail", "activation", "--locale", "fr")
    file.write_text("Betreff\n\nHallo {{ link }}\n")
    assert run("check-config").stderr == ""


def test_kinds_and_languages_are_listed(run: Run) -> None:
    listed = run("preview-mail", "--list").stdout
    assert "session_ended       host, device, logged_in_at" in listed
    assert listed.endswith("In each of: en, de, fr, es, pt, hi, zh-Hans\n")
    document = json.loads(run("preview-mail", "--list", "--json").stdout)
    assert document == {
        "kinds": {kind: list(values) for kind, values in SAMPLES.items()},
        "locales": [*LOCALES],
    }


def test_what_there_is_not_is_refused(run: Run, folder: Path) -> None:
    assert "Name a KIND, or take --list or --to-dir." in run("preview-mail", code=2).stderr
    assert "There is no kind mail:" in run("preview-mail", "mail", code=2).stderr
    assert "'it' is not one of" in run("preview-mail", "test", "--locale", "it", code=2).stderr
    (folder / "file").write_text("")
    assert run("preview-mail", "test", "--to-dir", "file", code=8).stderr == "Error: File exists: file\n"
