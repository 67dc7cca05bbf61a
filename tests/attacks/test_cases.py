"""Every case has a test that is named after it, or a line in docs/security.md that says why not."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Numbers that are not there were never given.
ATTACKS = [number for number in range(1, 89) if number not in (60, 64)]
FAULTS = [number for number in range(1, 39) if number != 33]
PARTS = "A02b A02c A02d A02e A02f A17b A31b A31c A31d A31e A42b"
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
