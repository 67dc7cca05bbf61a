"""The templates of mails: the built-in ones, and those of the operator before them.

One file tells a kind in a language, LOCALE/KIND.jinja: its blocks are the subject and the sentences, of
which `mail.txt` makes the text and `mail.html` the HTML part. What a language says in every mail (the
greeting, when a link ends) is in LOCALE/mail.jinja, which the kinds extend; what is around the HTML in
layout.html.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from jinja2.exceptions import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

BUILT_IN = Path(__file__).parent / "templates"

Format = Literal["txt", "html"]


@dataclass(frozen=True)
class Mistake:
    """Why templates of the operator's made no part of a mail."""

    file: Path
    line: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.reason}"


@dataclass(frozen=True)
class Part:
    content: str
    name: str
    """Of the template, as LOCALE/KIND.jinja."""
    file: Path
    subject: str = ""
    """Of the text alone."""
    mistake: Mistake | None = None
    """Why it was made of the built-in templates."""


class Templates:
    """For each part the first that there is, of LOCALE/KIND.txt, KIND.txt and LOCALE/KIND.jinja; HTML alike.

    Each is looked for in `templates_dir` first. The first line of KIND.txt is the subject.
    """

    def __init__(self, templates_dir: Path | None) -> None:
        self._dir = templates_dir

    def parts(self, kind: str, data: Mapping[str, Any], *, locale: str) -> tuple[Part, Part]:
        """The text and the HTML. Where one cannot be made as the operator wants it, the built-in one.

        Raises what a built-in template raises: TemplateNotFound for an unknown kind, UndefinedError for
        missing data.
        """
        return self._part("txt", kind, data, locale), self._part("html", kind, data, locale)

    def _part(self, form: Format, kind: str, data: Mapping[str, Any], locale: str) -> Part:
        if self._dir is None:
            return _made(None, form, kind, data, locale)
        try:
            return _made(self._dir, form, kind, data, locale)
        except Exception as error:
            # Templates are code of others: they may raise anything.
            mistake = _mistake(error, self._dir, _names(form, kind, locale))
        return replace(_made(None, form, kind, data, locale), mistake=mistake)


def _made(templates_dir: Path | None, form: Format, kind: str, data: Mapping[str, Any], locale: str) -> Part:
    template = _environment(templates_dir, form).select_template(_names(form, kind, locale))
    content = template.render(data, locale=locale, frame=f"mail.{form}")
    name, file = str(template.name), Path(str(template.filename))
    if form == "html":
        return Part(content, name, file)
    subject, _, text = content.partition("\n")
    if not subject.strip() or not text.strip():
        raise TemplateSyntaxError("there is no subject or no text", 1, name, str(file))
    return Part(text.strip() + "\n", name, file, subject.strip())


def _names(form: Format, kind: str, locale: str) -> list[str]:
    return [f"{locale}/{kind}.{form}", f"{kind}.{form}", f"{locale}/{kind}.jinja"]


def _mistake(error: Exception, templates_dir: Path, names: list[str]) -> Mistake:
    """Where it is: in the last line of the operator's that was read or run."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, TemplateSyntaxError):
        return Mistake(Path(error.filename or templates_dir), error.lineno, str(error.message or reason))
    if isinstance(error, OSError) and error.filename:
        return Mistake(Path(str(error.filename)), None, error.strerror or reason)
    for step in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(step.filename).is_relative_to(templates_dir):
            return Mistake(Path(step.filename), step.lineno, reason)
    first = next((templates_dir / name for name in names if (templates_dir / name).is_file()), templates_dir)
    return Mistake(first, None, reason)


class _Folder(FileSystemLoader):
    def get_source(self, environment: Environment, template: str) -> Any:
        """Says of a file that is no UTF-8 which one it is, and where."""
        try:
            return super().get_source(environment, template)
        except UnicodeDecodeError as error:
            line = 1 + error.object.count(b"\n", 0, error.start)
            file = str(Path(self.searchpath[0]) / template)
            raise TemplateSyntaxError("this is not UTF-8", line, template, file) from None


@cache
def _environment(templates_dir: Path | None, form: Format) -> SandboxedEnvironment:
    """It keeps what it has compiled; a file that is newer is compiled again."""
    folders: list[BaseLoader] = [FileSystemLoader(BUILT_IN)]
    if templates_dir:
        folders.insert(0, _Folder(templates_dir))
    return SandboxedEnvironment(
        loader=ChoiceLoader(folders),
        autoescape=form == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
