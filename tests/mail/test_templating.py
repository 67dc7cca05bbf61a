"""Templates of the operator's with mistakes: the built-in ones take their place, and it is told where."""

import os
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from usersvc.mail.samples import SAMPLES
from usersvc.mail.templating import BUILT_IN, Part, Templates

ACTIVATION = SAMPLES["activation"]


def made(folder: Path | None, kind: str = "activation", locale: str = "de") -> tuple[Part, Part]:
    return Templates(folder).parts(kind, SAMPLES[kind], locale=locale)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


BROKEN = {
    "an unknown name": ("Subject\n\n{{ nothing }}\n", 3, "UndefinedError: 'nothing' is undefined"),
    "an unknown attribute": ("S\n{{ host.x }}", 2, "UndefinedError: 'str object' has no attribute 'x'"),
    "no end": ("Subject\n\nHello\n{% if host %}\n", 4, "Unexpected end of template."),
    "no condition": ("{% if %}", 1, "Expected an expression, got 'end of statement block'"),
    "a missing file": ("S\n\n{% include 'none' %}", 3, "TemplateNotFound: none"),
    "an error": ("S\n\n\n{{ 1 / 0 }}", 4, "ZeroDivisionError: division by zero"),
    "endless": ("S\n{% for n in range(10000000) %}x{% endfor %}", 2, "OverflowError: Range too big."),
    "itself": ("{% include 'activation.txt' %}", 1, "RecursionError: maximum recursion depth exceeded"),
    "nothing": ("", 1, "there is no subject or no text"),
    "a subject alone": ("Subject\n\n \n", 1, "there is no subject or no text"),
    "no subject": ("\nText\n", 1, "there is no subject or no text"),
    "no text": (b"Subject\n\n\xe4\n", 3, "this is not UTF-8"),
    "an escape": ("S\n{{ ''.__class__.__mro__ }}", 2, "SecurityError: access to attribute '__class__'"),
    "a global": ("S\n{{ host.__init__.__globals__ }}", 2, "SecurityError: access to attribute '__init__'"),
    "a format": ("S\n{{ '{0.__class__}'.format(host) }}", 2, "SecurityError: access to attribute"),
    "the system": (
        "S\n{{ cycler.__init__.__globals__.os.system('true') }}",
        2,
        "SecurityError: access to attribute '__init__'",
    ),
    "another file": ("S\n\n{% include '../secret.txt' %}", 3, "TemplateNotFound: ../secret.txt"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_part_with_a_mistake_is_the_built_in_one(tmp_path: Path, name: str) -> None:
    content, line, reason = BROKEN[name]
    write(tmp_path, "secret.txt", "hidden")
    folder = tmp_path / "templates"
    file = write(folder, "activation.txt", content)
    (text, html), (built_in, other) = made(folder), made(None)
    assert (text.content, text.subject, text.name) == (
        built_in.content,
        built_in.subject,
        "de/activation.jinja",
    )
    assert text.mistake is not None
    assert (text.mistake.file, text.mistake.line) == (file, line)
    assert text.mistake.reason.startswith(reason)
    assert str(text.mistake).startswith(f"{file}:{line}: {reason}")
    assert (html.content, html.mistake) == (other.content, None)
    file.write_text("Subject\n\nMended: {{ link }}\n", encoding="utf-8")
    os.utime(file, ns=(1, 1))  # whatever the clock says: it is another file than the one that was read
    assert made(folder)[0].subject == "Subject"


def test_the_mistake_is_told_where_it_is_not_where_it_was_met(tmp_path: Path) -> None:
    write(tmp_path, "activation.html", "{% extends 'layout.html' %}\n{% block body %}Mine{% endblock %}")
    layout = write(tmp_path, "layout.html", "<main>\n{% block body %}{% endblock %}\n{{ logo }}\n</main>")
    words = write(tmp_path, "de/mail.jinja", (BUILT_IN / "de/mail.jinja").read_text("utf-8") + "\n{% x %}")
    text, html = made(tmp_path)
    assert (text.mistake and text.mistake.file, text.mistake and text.mistake.line) == (words, 8)
    assert (html.mistake and html.mistake.file, html.mistake and html.mistake.line) == (layout, 3)
    assert [text.content, html.content] == [part.content for part in made(None)]
    french = made(tmp_path, locale="fr")
    assert french[0].mistake is None


def test_what_is_no_file_or_unreadable_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "activation.txt").mkdir()
    (tmp_path / "activation.html").symlink_to("nowhere")
    text, html = made(tmp_path)
    assert (text.mistake, html.mistake) == (None, None)
    assert made(tmp_path / "gone")[0].content == text.content


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "activation.txt"
    file.symlink_to("/proc/self/mem")  # even for root
    text, _ = made(tmp_path)
    assert str(text.mistake) == f"{file}: OSError: [Errno 5] Input/output error"
    assert text.content == made(None)[0].content


def test_what_no_template_can_make_is_no_mistake_of_theirs(tmp_path: Path) -> None:
    with pytest.raises(TemplateNotFound):
        Templates(tmp_path).parts("no_such_kind", {}, locale="en")
    with pytest.raises(UndefinedError):
        Templates(tmp_path).parts("activation", {"host": "x"}, locale="en")
