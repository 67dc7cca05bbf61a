"""Which documents there are, and what they are made of."""

import re
from pathlib import Path

from tests.reference import commands, markdown, picture, roff

ROOT = Path(__file__).parents[2]
_CLI = ROOT / "docs" / "cli.md"
_MAN = ROOT / "docs" / "usersvc.1"
_PICTURE = ROOT / "docs" / "status.svg"
MARK = "<!-- From here on made by `make reference` out of the commands: change those. -->\n"


def all_of_them() -> dict[Path, str]:
    head, mark, _ = _CLI.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{_CLI.name} has lost its mark: {MARK}")
    options, sections = commands.global_options(), commands.sections()
    return {
        _CLI: head + MARK + markdown.write(options, sections, _exit_codes()),
        _PICTURE: picture.write(),
        _MAN: roff.write(head, options, sections, _exit_codes()),
    }


def _exit_codes() -> list[tuple[str, str]]:
    """Those of docs/operations.md, which says more of each than the code could."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Exit codes$(.*?)(?:^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [(code, meaning) for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE)]


def heading_at(document: str, anchor: str) -> str:
    """The heading that an anchor leads to; a ValueError where it leads nowhere."""
    for heading in re.findall(r"^#+ (.+)$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE):
        if re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") == anchor:
            return str(heading)
    raise ValueError(f"{document} has no heading {anchor}.")
