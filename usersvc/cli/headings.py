"""Help as plain text with bold headings; docs/decisions/0006 says why not with Rich.

The docstring of a command is its help, and by `make reference` its chapter in docs/cli.md and the man page.
As in Markdown, what is indented in it is shown as it stands: the examples, which follow the options.
"""

import inspect
import re
from typing import Any, NamedTuple

import typer

_HEADING = re.compile(r"^[A-Z][a-z]+:$", re.MULTILINE)
_INDENT = "    "


class Explained(NamedTuple):
    prose: str
    examples: str


def explain(docstring: str) -> Explained:
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    examples = [inspect.cleandoc(each) for each in paragraphs if each.startswith(_INDENT)]
    prose = [each for each in paragraphs if not each.startswith(_INDENT)]
    return Explained("\n\n".join(prose), "\n\n".join(examples))


class BoldHeadings:
    """Before Typer's own class. What is below a heading is indented, so that it is not taken for one."""

    epilog: str | None

    def get_help(self, ctx: Any) -> str:
        text: str = super().get_help(ctx)  # type: ignore[misc]
        return _HEADING.sub(lambda heading: typer.style(heading[0], bold=True), text)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, whose lines may be longer than those of a terminal, and stay whole."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}".rstrip() + "\n")
