"""Every case has a test that is named after it, or a line in docs/security.md that says why not.

And what docs/security.md and docs/asvs.md name as shown is there.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Numbers that are not there were never given.
ATTACKS = [number for number in range(1, 89) if number not in (60, 64)]
FAULTS = [number for number in range(1, 39) if number != 33]
PARTS = "A02b A02c A02d A02e A02f A17b A31b A31c A31d A31e A42b"
CASE = re.compile(r"\b[AR]\d\d[b-f]?\b")
CASES = {f"A{number:02}" for number in ATTACKS} | {f"R{number:02}" for number in FAULTS} | set(PARTS.split())


def _tested() -> set[str]:
    """Some tests show two cases: test_r03_r04_…"""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"^def test_((?:[ar]\d\d[b-f]?_)+)", text, re.MULTILINE)
    return {case[0].upper() + case[1:] for cases in named for case in cases.strip("_").split("_")}


def _excused() -> set[str]:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([AR]\d\d[b-f]?) \| .{10,} \|$", text, re.MULTILINE))


def test_every_case_has_a_test_or_a_reason() -> None:
    assert CASES - _tested() - _excused() == set()


def test_no_case_has_both_and_none_is_made_up() -> None:
    assert _tested() & _excused() == set()
    assert _tested() | _excused() == CASES


def _documents() -> str:
    return "\n".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("security.md", "asvs.md")
    )


def test_tests_files_and_cases_that_the_documents_name_exist() -> None:
    text = _documents()
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert tests
    for path, name in tests:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name
    for path in re.findall(r"`((?:usersvc|tests|docs|deploy)/[\w/.-]*)", text):
        assert (ROOT / path).exists(), path
    assert set(CASE.findall(text)) <= CASES


def test_a_promise_is_shown_by_cases_or_tests_that_there_are() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^## What is promised$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    _, _, *promises = re.findall(r"^\| .* \| (.*) \|$", table, re.MULTILINE)
    assert promises
    for shown in promises:
        assert CASE.search(shown), shown
        assert set(CASE.findall(shown)) <= _tested()


ROW = re.compile(r"^\| (\d[\d., ]+\d) \| ([123]) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)


def _requirements() -> dict[str, tuple[str, str]]:
    """How each is met, and what shows it."""
    text = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")
    rows = [
        (number, how, shown) for numbers, _, how, shown in ROW.findall(text) for number in numbers.split(", ")
    ]
    assert len(ROW.findall(text)) == len(re.findall(r"^\| \d", text, re.MULTILINE))
    found = {number: (how, shown) for number, how, shown in rows}
    assert len(found) == len(rows)
    return found


def test_a_requirement_is_shown_or_said_not_to_be_met() -> None:
    for number, (how, shown) in _requirements().items():
        assert set(CASE.findall(shown)) <= _tested(), number
        is_shown = CASE.search(shown) or "`" in shown or "](" in shown
        assert is_shown or how.startswith(("**Not met:**", "Does not apply:")), number


def test_what_is_not_met_stands_at_the_beginning_too() -> None:
    text = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")
    for said, begin in (
        ("Not met", "**Not met:**"),
        ("Partly met", "**Partly met:**"),
        ("Does not apply", "Does not apply:"),
    ):
        [listed] = re.findall(rf"^- \*\*{said}:\*\* ([\d., \n]+)", text, re.MULTILINE)
        marked = {number for number, (how, _) in _requirements().items() if how.startswith(begin)}
        assert set(re.findall(r"[\d.]+\d", listed)) == marked
