"""Help as plain text with bold headings; docs/decisions/0006 says why not with Rich.

The docstring of a command is its help, and by `make reference` its chapter in docs/cli.md and the man page.
The examples at its end are shown as they stand, after the options.
"""

import inspect
import re
import textwrap
from typing import Any, NamedTuple

import typer

_HEADING = re.compile(r"^[A-Z][a-z]+:$", re.MULTILINE)
_EXAMPLE = re.compile(r"^ *\$ ", re.MULTILINE)


class Explained(NamedTuple):
    prose: str
    examples: str


def explain(docstring: str) -> Explained:
    """Examples begin with the first line that begins with `$`; there is nothing but examples behind it."""
    text = inspect.cleandoc(docstring)
    first = _EXAMPLE.search(text)
    if first is None:
        return Explained(text, "")
    return Explained(text[: first.start()].strip(), textwrap.dedent(text[first.start() :]))


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
