"""Help as plain text with bold headings; docs/decisions/0006 says why not with Rich."""

import re
from typing import Any

import typer

_HEADING = re.compile(r"^[A-Z][a-z]+:$", re.MULTILINE)


class BoldHeadings:
    """Before Typer's own class. What is below a heading is indented, so that it is not taken for one."""

    def get_help(self, ctx: Any) -> str:
        text: str = super().get_help(ctx)  # type: ignore[misc]
        return _HEADING.sub(lambda heading: typer.style(heading[0], bold=True), text)
