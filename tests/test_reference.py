"""docs/cli.md and the man page are those of the commands, in the form that their readers need."""

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.processes import PATIENCE_SECONDS
from tests.reference import documents, markdown, roff
from tests.reference.commands import Command, Item, Section
from usersvc.cli.commands import COMMANDS, load
from usersvc.cli.headings import explain

MAN = documents.ROOT / "docs" / "usersvc.1"
CLI = documents.ROOT / "docs" / "cli.md"
MACROS = {"TH", "SH", "SS", "PP", "TP", "B", "RS", "RE", "EX", "EE"}
ESCAPES = re.compile(r"\\(?:f[BIR]|e|-|&|\((?:aq|ga|ha|ti|dq)|\[u[0-9A-F]{4,6}\])")


def test_the_reference_and_the_man_page_are_those_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    for path, text in documents.all_of_them().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is an older one: make reference"


def test_every_command_argument_and_option_has_its_place_in_both() -> None:
    chapters = re.split(r"^### usersvc ", CLI.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    pages = re.split(r'^\.SS "usersvc ', MAN.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for listed, chapter, page in zip(COMMANDS, chapters, pages, strict=True):
        assert chapter.startswith(f"{listed.name}\n")
        assert page.startswith(listed.name.replace("-", r"\-"))
        for parameter in load(listed.name).params:
            is_option = parameter.param_type_name == "option"
            for form in [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar]:
                assert re.search(rf"^\|.*`{form}[ `]", chapter, re.MULTILINE), (listed.name, form)
                assert rf"\fB{form}\fR".replace("-", r"\-") in page, (listed.name, form)


def test_the_man_page_is_in_the_language_of_its_readers() -> None:
    text = MAN.read_text(encoding="utf-8")
    assert text.isascii()
    for line in text.splitlines()[1:]:
        if line.startswith("."):
            assert line[1:].split()[0] in MACROS
        assert not line.startswith("'")
        assert "\\" not in ESCAPES.sub("", line), line
    assert text.count(".EX") == text.count(".EE")
    assert text.count(".RS") == text.count(".RE")


def test_what_would_be_markup_stays_what_it_is() -> None:
    command = Command(
        name="try",
        prose=["Takes `a|b` or <any>*, see docs/operations.md#purging and `~/.x` - isn't it?"],
        examples="$ usersvc try\n.dots and 'quotes' \\ stay",
        arguments=[Item(["FILE"], "", "One | other.")],
        options=[Item(["--at", "-a"], "N", "When.")],
        usage="usersvc try FILE",
    )
    sections = [Section("Tries", [command])]
    written = markdown.write([], sections, [])
    assert r"Takes `a\|b` or \<any>\*, see [Purging](operations.md#purging) and `~/.x`" in written
    assert r"| `FILE` | One \| other. |" in written
    assert "| `--at N`, `-a` | When. |" in written
    page = roff.write("# T\n\n    usersvc\n\nHead **bold** [link](x.md).", [], sections, []).splitlines()
    assert r"Head \fBbold\fR link." in page
    assert r"\&.dots and \(aqquotes\(aq \e stay" in page
    assert r"\fB\-\-at\fR, \fB\-a\fR \fIN\fR" in page
    assert r"\fB\(ti/.x\fR \- isn\(aqt it?" in " ".join(page)


def test_examples_stay_as_they_stand_whatever_is_before_them() -> None:
    lines = "$ usersvc try\n  1\n\nfield  value"
    indented = lines.replace("\n", "\n        ")
    assert explain(f"Try.\n\n        {indented}\n    ") == ("Try.", lines)
    assert explain(f"Try.\n\n    It costs $ 5.\n\n        {indented}\n    ") == (
        "Try.\n\nIt costs $ 5.",
        lines,
    )
    assert explain("Try.") == ("Try.", "")
    for listed in COMMANDS:
        assert "$ usersvc" not in load(listed.name).help, listed.name


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"docs/operations.md has no heading nowhere"):
        documents.heading_at("docs/operations.md", "nowhere")


@pytest.mark.process
def test_an_installation_brings_the_man_page(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=documents.ROOT,
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as packed:
        [name] = [name for name in packed.namelist() if name.endswith(".data/data/share/man/man1/usersvc.1")]
        assert packed.read(name) == MAN.read_bytes()
