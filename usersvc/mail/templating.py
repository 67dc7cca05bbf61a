"""The templates of mails: the built-in ones, and those of the operator before them.

One file tells a kind in a language, LOCALE/KIND.jinja: its blocks are the subject and the sentences, of
which `mail.txt` makes the text and `mail.html` the HTML part. What a language says in every mail (the
greeting, when a link ends) is in LOCALE/mail.jinja, which the kinds extend; what is around the HTML in
layout.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

BUILT_IN = Path(__file__).parent / "templates"

Format = Literal["txt", "html"]


@dataclass(frozen=True)
class Part:
    content: str
    template: str
    """Its name, as LOCALE/KIND.jinja."""
    subject: str = ""
    """Of the text part alone."""


class Templates:
    """For each part the first that there is, of LOCALE/KIND.txt, KIND.txt and LOCALE/KIND.jinja; HTML alike.

    Each is looked for in `templates_dir` first. The first line of KIND.txt is the subject.
    """

    def __init__(self, templates_dir: Path | None) -> None:
        self._dir = templates_dir

    def parts(self, kind: str, data: Mapping[str, Any], *, locale: str) -> tuple[Part, Part]:
        """The text and the HTML. Raises whatever a broken template does, ValueError for an empty one."""
        name, content = self._render("txt", kind, data, locale)
        subject, _, text = content.partition("\n")
        if not subject.strip() or not text.strip():
            raise ValueError(f"{name} gives no subject or no text")
        text_part = Part(text.strip() + "\n", name, subject.strip())
        name, content = self._render("html", kind, data, locale)
        return text_part, Part(content, name)

    def _render(self, form: Format, kind: str, data: Mapping[str, Any], locale: str) -> tuple[str, str]:
        names = [f"{locale}/{kind}.{form}", f"{kind}.{form}", f"{locale}/{kind}.jinja"]
        template = _environment(self._dir, form).select_template(names)
        content = template.render(data, locale=locale, frame=f"mail.{form}")
        return str(template.name), content


@cache
def _environment(templates_dir: Path | None, form: Format) -> SandboxedEnvironment:
    """It keeps what it has compiled; a file that is newer is compiled again."""
    folders: list[BaseLoader] = [FileSystemLoader(BUILT_IN)]
    if templates_dir:
        folders.insert(0, FileSystemLoader(templates_dir))
    return SandboxedEnvironment(
        loader=ChoiceLoader(folders),
        autoescape=form == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
