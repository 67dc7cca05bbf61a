"""The commands as a manual page, in the macros of man(7)."""

import re
import textwrap
from collections.abc import Iterator

from tests.reference.commands import Command, Item, Section
from usersvc import __version__

_MARKUP = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^]]+)\]\([^)]*\)")
_WIDTH = 79
_ABOUT = "user management: registration, login, sessions, passwords"


def write(head: str, options: list[Item], sections: list[Section], exit_codes: list[tuple[str, str]]) -> str:
    """`head` is the beginning of docs/cli.md."""
    lines = [
        r'.\" Made by "make reference" out of the commands.',
        f'.TH USERSVC 1 "" "usersvc {__version__}" "User Commands"',
        ".SH NAME",
        rf"usersvc \- {_ABOUT}",
        ".SH SYNOPSIS",
        r".B usersvc",
        r"[\fB\-\-config\fR \fIFILE\fR] \fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        *_described(head),
        ".SH OPTIONS",
        *_items(options),
    ]
    for section in sections:
        lines.append(f".SH {_quoted(section.name.upper())}")
        for command in section.commands:
            lines += _chapter(command)
    lines.append(".SH EXIT STATUS")
    for code, meaning in exit_codes:
        lines += [".TP", rf"\fB{code}\fR", *_lines(meaning.replace(r"\|", "|"))]
    return "\n".join([*lines, *_files()]) + "\n"


def _described(head: str) -> Iterator[str]:
    """Paragraphs and blocks of code, after the heading and the synopsis."""
    first = True
    for block in head.strip().split("\n\n")[2:]:
        if block.startswith("    "):
            yield from _verbatim(textwrap.dedent(block))
            continue
        yield from ([] if first else [".PP"])
        yield from _lines(" ".join(block.split()))
        first = False


def _chapter(command: Command) -> Iterator[str]:
    name, _, rest = command.usage.removeprefix("usersvc ").partition(" ")
    yield f".SS {_quoted(f'usersvc {name} {rest}'.strip())}"
    for number, paragraph in enumerate(command.prose):
        yield from ([".PP"] if number else [])
        yield from _lines(paragraph)
    yield from _items([*command.arguments, *command.options])
    if command.examples:
        yield from (".PP", "For instance:", *_verbatim(command.examples))


def _items(items: list[Item]) -> Iterator[str]:
    for item in items:
        forms = ", ".join(rf"\fB{_escaped(form)}\fR" for form in item.forms)
        value = rf" \fI{_escaped(item.value)}\fR" if item.value else ""
        yield from (".TP", forms + value, *_lines(item.meaning))


def _files() -> list[str]:
    return [
        ".SH ENVIRONMENT",
        ".TP",
        r"\fBUSERSVC_CONFIG\fR",
        "The settings file.",
        ".TP",
        r"\fBUSERSVC_\fITABLE\fB__\fIKEY\fR",
        *_lines("A setting, which is stronger than the file: `USERSVC_SERVER__PORT` for `server.port`."),
        ".SH FILES",
        ".TP",
        r"\fIusersvc.toml\fR",
        "The settings, in the folder that usersvc is called in.",
        ".TP",
        r"\fIdata/\fR",
        *_lines("The database, the secret key and the queue, unless `server.data_dir` names another folder."),
    ]


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX")
    for line in text.splitlines():
        yield _protected(_escaped(line))
    yield from (".EE", ".RE")


def _lines(markdown: str) -> list[str]:
    wrapped = textwrap.wrap(_text(markdown), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_protected(line) for line in wrapped]


def _text(markdown: str) -> str:
    """Code and what is bold in bold; of a link only its text."""

    def marked(found: re.Match[str]) -> str:
        code, bold, link = found.groups()
        return rf"\fB{_escaped(code or bold)}\fR" if code or bold else _text(link)

    parts, end = [], 0
    for found in _MARKUP.finditer(markdown):
        parts += [_escaped(markdown[end : found.start()]), marked(found)]
        end = found.end()
    return "".join([*parts, _escaped(markdown[end:])])


def _escaped(text: str) -> str:
    r"""As it stands: a bare "-" would be a hyphen, and "'", "`", "^", "~" other signs than were typed."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    for sign, name in (("'", r"\(aq"), ("`", r"\(ga"), ("^", r"\(ha"), ("~", r"\(ti")):
        text = text.replace(sign, name)
    return "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in text)


def _protected(text: str) -> str:
    """A dot at the beginning would be a command to the formatter."""
    return r"\&" + text if text.startswith(".") else text


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', r"\(dq") + '"'
