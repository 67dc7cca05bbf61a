"""The commands as a chapter of Markdown."""

import re
import textwrap
from collections.abc import Iterator

from tests.reference import documents
from tests.reference.commands import Command, Item, Section

_WIDTH = 120
_CODE = re.compile(r"(`[^`]*`)")
_LINK = re.compile(r"\bdocs/(\w[\w-]*\.md)(?:#([\w-]+))?")


def write(options: list[Item], sections: list[Section], exit_codes: list[tuple[str, str]]) -> str:
    parts = ["", "## Options of all commands", *_table("option", options)]
    for section in sections:
        parts += ["", f"## {section.name}"]
        for command in section.commands:
            parts += _chapter(command)
    parts += ["", "## Exit codes", "", "| code | meaning |", "| --- | --- |"]
    parts += [f"| {code} | {meaning} |" for code, meaning in exit_codes]
    return "\n".join(parts) + "\n"


def _chapter(command: Command) -> Iterator[str]:
    yield from ("", f"### usersvc {command.name}", "", f"    {command.usage}")
    for paragraph in command.prose:
        yield from ("", *_wrapped(_linked(_escaped(paragraph))))
    yield from _table("argument", command.arguments)
    yield from _table("option", command.options)
    if command.examples:
        # Behind a table this would be taken for a part of it.
        yield from ("", "For instance:", "", textwrap.indent(command.examples, "    "))


def _table(kind: str, items: list[Item]) -> Iterator[str]:
    if items:
        yield from ("", f"| {kind} | meaning |", "| --- | --- |")
    for item in items:
        first, *others = item.forms
        forms = [f"`{first} {item.value}`" if item.value else f"`{first}`", *(f"`{form}`" for form in others)]
        yield f"| {', '.join(forms)} | {_linked(_escaped(item.meaning))} |"


def _escaped(text: str) -> str:
    """What would be markup; not between backticks, where nothing is but the line of a table."""
    parts = _CODE.split(text.replace("|", r"\|"))
    return "".join(part if part.startswith("`") else re.sub(r"([<*])", r"\\\1", part) for part in parts)


def _linked(text: str) -> str:
    def link(found: re.Match[str]) -> str:
        name, anchor = found.groups()
        if not anchor:
            return f"[{name}]({name})"
        return f"[{documents.heading_at(f'docs/{name}', anchor)}]({name}#{anchor})"

    return _LINK.sub(link, text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
